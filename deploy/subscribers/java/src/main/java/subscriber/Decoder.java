package subscriber;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigDecimal;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.data.TimeConversions;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;

/** Confluent framing: byte 0, schema id in four bytes, Avro. An id never changes its meaning, so each is asked for once. */
final class Decoder {
    private static final DateTimeFormatter MICROS =
        DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'").withZone(ZoneOffset.UTC);

    private final String registry;
    private final HttpClient http;
    private final GenericData types = new GenericData();
    /** Your own copy of the schema; without one, records come as they were written. */
    private final Schema reader;
    private final Map<Integer, GenericDatumReader<GenericRecord>> known = new HashMap<>();

    Decoder(String registry) throws IOException {
        this.registry = registry.replaceAll("/+$", "");
        HttpClient.Builder builder = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10));
        if (System.getenv("REGISTRY_CA_FILE") != null) {
            builder.sslContext(trusting(Path.of(System.getenv("REGISTRY_CA_FILE"))));
        }
        http = builder.build();
        reader = System.getenv("READER_SCHEMA") == null ? null : new Schema.Parser().parse(Subscriber.textOf("READER_SCHEMA"));
        types.addLogicalTypeConversion(new Conversions.DecimalConversion());
        types.addLogicalTypeConversion(new TimeConversions.DateConversion());
        types.addLogicalTypeConversion(new TimeConversions.TimestampMicrosConversion());
    }

    GenericRecord decode(byte[] framed) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(framed);
        if (bytes.get() != 0) {
            throw new IOException("the value is not framed as the registry's clients do it");
        }
        int id = bytes.getInt();
        GenericDatumReader<GenericRecord> datum = known.get(id);
        if (datum == null) {
            Schema writer = ask(id);
            datum = new GenericDatumReader<>(writer, reader == null ? writer : reader, types);
            known.put(id, datum);
        }
        return datum.read(null, DecoderFactory.get().binaryDecoder(framed, bytes.position(), bytes.remaining(), null));
    }

    private Schema ask(int id) throws IOException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).timeout(Duration.ofSeconds(10));
        if (System.getenv("REGISTRY_USERNAME") != null) {
            String user = System.getenv("REGISTRY_USERNAME") + ":" + Subscriber.textOf("REGISTRY_PASSWORD_FILE");
            request.header("Authorization", "Basic " + Base64.getEncoder().encodeToString(user.getBytes(StandardCharsets.UTF_8)));
        }
        try {
            HttpResponse<String> answer = http.send(request.build(), HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException("asking the registry for schema " + id + ": status " + answer.statusCode());
            }
            return new Schema.Parser().parse(Subscriber.JSON.readTree(answer.body()).get("schema").asText());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }

    /** Avro's types as those of JSON; numbers that JSON would round are text. */
    Object plain(Object value) {
        if (value instanceof GenericRecord record) {
            Map<String, Object> fields = new TreeMap<>();
            for (Schema.Field field : record.getSchema().getFields()) {
                fields.put(field.name(), plain(record.get(field.pos())));
            }
            return fields;
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> entries = new TreeMap<>();
            map.forEach((name, part) -> entries.put(name.toString(), plain(part)));
            return entries;
        }
        if (value instanceof Collection<?> list) {
            List<Object> parts = new ArrayList<>();
            list.forEach(part -> parts.add(plain(part)));
            return parts;
        }
        if (value instanceof BigDecimal number) {
            return number.toPlainString();
        }
        if (value instanceof Instant instant) {
            return MICROS.format(instant);
        }
        return value == null || value instanceof Boolean || value instanceof Number ? value : value.toString();
    }

    private static SSLContext trusting(Path file) throws IOException {
        try {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null, null);
            int count = 0;
            byte[] text = Files.readAllBytes(file);
            for (Certificate one : CertificateFactory.getInstance("X.509").generateCertificates(new ByteArrayInputStream(text))) {
                store.setCertificateEntry("ca" + count++, one);
            }
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust.getTrustManagers(), null);
            return context;
        } catch (GeneralSecurityException e) {
            throw new IOException("reading the authorities in " + file, e);
        }
    }
}
