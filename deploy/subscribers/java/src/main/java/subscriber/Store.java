package subscriber;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/** Stands for your database: one row per key, with the revision beside the data. Kept as a journal that is read at the start. */
final class Store {
    private final Map<String, Map<String, Object>> rows = new TreeMap<>();
    private final FileOutputStream journal;

    Store(Path file) throws IOException {
        if (Files.exists(file)) {
            for (String line : Files.readAllLines(file)) {
                Map<String, Object> row = Subscriber.JSON.readValue(line, new TypeReference<>() {});
                insert((String) row.get("key"), ((Number) row.get("revision")).longValue(), row.get("data"));
            }
        }
        journal = new FileOutputStream(file.toFile(), true);
    }

    /** Keeps the row of a deleted key with its revision: without it, an older record could bring the key back. */
    void apply(String key, long revision, Object data) throws IOException {
        if (insert(key, revision, data)) {
            Map<String, Object> line = new LinkedHashMap<>(rows.get(key));
            line.put("key", key);
            journal.write((Subscriber.JSON.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8));
        }
    }

    private boolean insert(String key, long revision, Object data) {
        Map<String, Object> stored = rows.get(key);
        if (stored != null && revision <= (Long) stored.get("revision")) {
            return false;
        }
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("data", data);
        row.put("revision", revision);
        rows.put(key, row);
        return true;
    }

    void keep() throws IOException {
        journal.getFD().sync();
    }

    Map<String, Map<String, Object>> state() {
        return rows;
    }
}
