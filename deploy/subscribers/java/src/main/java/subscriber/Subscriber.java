package subscriber;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * A complete subscriber to one golden topic, with stock clients. Copy it and put your own table in place of {@link Store}.
 *
 * <p>What every subscriber owes, and where it stands here: the highest revision of a key wins, of a deleted key too
 * ({@link Store#apply}); data null is a delete, and the null value after it is clean-up ({@link #take}); a symbol or field that a
 * newer schema brings is no surprise (READER_SCHEMA, {@link Decoder}); stored first, committed then ({@link #run}); only what was
 * committed is read, from the beginning on ({@link #settings}).
 *
 * <p>Settings are environment variables; README.md of the samples lists them. Ends by itself on SIGTERM and SIGINT.
 */
public final class Subscriber {
    static final ObjectMapper JSON =
        new ObjectMapper().configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);

    private final String topic = System.getenv().getOrDefault("TOPIC", "mdm.golden.item");
    private final boolean untilEnd = !System.getenv().getOrDefault("UNTIL_END", "").isEmpty();
    private final Decoder decoder = new Decoder(need("REGISTRY"));
    private final Store store = new Store(Path.of(System.getenv().getOrDefault("STORE", "golden.jsonl")));
    private final KafkaConsumer<String, byte[]> consumer =
        new KafkaConsumer<>(settings(), new StringDeserializer(), new ByteArrayDeserializer());

    private Subscriber() throws IOException {}

    public static void main(String[] arguments) throws Exception {
        Subscriber subscriber = new Subscriber();
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            subscriber.consumer.wakeup();
            try {
                main.join(10_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        subscriber.run();
        System.out.println(JSON.writeValueAsString(subscriber.store.state()));
        System.out.flush();
    }

    private void run() throws IOException {
        try (consumer) {
            consumer.subscribe(List.of(topic));
            while (!(untilEnd && atEnd())) {
                boolean took = false;
                for (ConsumerRecord<String, byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    take(record);
                    took = true;
                }
                if (took) {
                    store.keep(); // the effect, durable, ...
                    consumer.commitSync(); // ... and only then the position
                }
            }
        } catch (WakeupException e) {
            // SIGTERM: what is stored but not committed comes again and changes nothing.
        }
    }

    private void take(ConsumerRecord<String, byte[]> record) throws IOException {
        if (record.value() == null) {
            return; // tombstone: clean-up of a delete that came before it
        }
        GenericRecord golden = decoder.decode(record.value());
        long revision = (Long) ((GenericRecord) golden.get("meta")).get("revision");
        // The key is plain UTF-8, for example 4711/C; the headers (ce_type, ce_subject, ...) tell most without decoding.
        store.apply(record.key(), revision, decoder.plain(golden.get("data")));
    }

    /** Whether everything that was there is read: for tests and one-off loads; a subscriber goes on. */
    private boolean atEnd() {
        Collection<TopicPartition> assigned = consumer.assignment();
        if (assigned.isEmpty()) {
            return false;
        }
        Map<TopicPartition, Long> ends = consumer.endOffsets(assigned);
        return assigned.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
    }

    private static Properties settings() throws IOException {
        Properties known = new Properties();
        known.put("bootstrap.servers", need("BROKERS"));
        known.put("group.id", need("GROUP"));
        known.put("auto.offset.reset", "earliest"); // compacted: the beginning holds the full current state
        known.put("isolation.level", "read_committed"); // golden topics are written in transactions
        known.put("enable.auto.commit", "false");
        String authorities = System.getenv("KAFKA_CA_FILE");
        String user = System.getenv("KAFKA_USERNAME");
        if (authorities != null) {
            known.put("ssl.truststore.type", "PEM");
            known.put("ssl.truststore.location", authorities);
        }
        if (System.getenv("KAFKA_CERTIFICATE_FILE") != null) {
            known.put("ssl.keystore.type", "PEM");
            known.put("ssl.keystore.certificate.chain", textOf("KAFKA_CERTIFICATE_FILE"));
            known.put("ssl.keystore.key", textOf("KAFKA_KEY_FILE")); // PKCS#8
        }
        if (user != null) {
            String mechanism = System.getenv().getOrDefault("KAFKA_MECHANISM", "SCRAM-SHA-512");
            String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
            known.put("sasl.mechanism", mechanism);
            known.put("sasl.jaas.config", "org.apache.kafka.common.security." + module + " required username=\"" + quoted(user)
                + "\" password=\"" + quoted(textOf("KAFKA_PASSWORD_FILE")) + "\";");
        }
        if (authorities != null || user != null) {
            known.put("security.protocol", (user != null ? "SASL_" : "") + (authorities != null ? "SSL" : "PLAINTEXT"));
        }
        return known;
    }

    static String need(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            throw new IllegalArgumentException(name + " is missing in the environment");
        }
        return value;
    }

    /** The text of the file that a variable names: secrets never stand in the environment. */
    static String textOf(String name) throws IOException {
        return Files.readString(Path.of(need(name))).stripTrailing();
    }

    private static String quoted(String text) {
        return text.replace("\\", "\\\\").replace("\"", "\\\"");
    }
}
