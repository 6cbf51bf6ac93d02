import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.TopicAuthorizationException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Tries, as each identity with its own password, everything that standard input lists, and says what the broker answered.
 *
 * Lines, fields separated by tabs: {@code as <principal> <password file>} begins an identity; {@code <act> <name>} is tried by each of
 * them; {@code commit <topic>} names a topic for offsets. The arguments are the brokers and the file of the authority. One line is
 * printed for each attempt: principal, act, name, and {@code yes}, {@code no} or {@code ? <what happened>}.
 */
public class Attempts {
    private static final Duration PATIENCE = Duration.ofSeconds(20);
    private static final int ABREAST = 4;

    private final String name;
    private final Properties properties;

    private Attempts(String name, Path password, String brokers, String authority) throws Exception {
        this.name = name;
        properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        properties.put("security.protocol", "SASL_SSL");
        properties.put("ssl.truststore.type", "PEM");
        properties.put("ssl.truststore.location", authority);
        properties.put("sasl.mechanism", "SCRAM-SHA-512");
        properties.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"" + name
                + "\" password=\"" + Files.readString(password).strip() + "\";");
        properties.put("key.serializer", ByteArraySerializer.class.getName());
        properties.put("value.serializer", ByteArraySerializer.class.getName());
        properties.put("key.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("value.deserializer", ByteArrayDeserializer.class.getName());
        properties.put("enable.auto.commit", "false");
        properties.put("enable.idempotence", "false");
        properties.put("retry.backoff.ms", "1");
        properties.put("retry.backoff.max.ms", "1");
        properties.put("reconnect.backoff.ms", "5");
        properties.put("max.block.ms", "20000");
        properties.put("default.api.timeout.ms", "20000");
        properties.put("request.timeout.ms", "15000");
        properties.put("fetch.max.wait.ms", "10");
        properties.put("auto.offset.reset", "earliest");
    }

    public static void main(String[] arguments) throws Exception {
        List<Attempts> identities = new ArrayList<>();
        List<String[]> acts = new ArrayList<>();
        for (String line : new String(System.in.readAllBytes()).split("\n")) {
            String[] field = line.split("\t");
            if (field[0].equals("as")) {
                identities.add(new Attempts(field[1], Path.of(field[2]), arguments[0], arguments[1]));
            } else {
                acts.add(field);
            }
        }
        ExecutorService threads = Executors.newFixedThreadPool(ABREAST);
        try {
            List<Future<String>> all = new ArrayList<>();
            for (Attempts identity : identities) {
                all.add(threads.submit(() -> identity.all(acts)));
            }
            for (Future<String> one : all) {
                System.out.print(one.get());
            }
        } finally {
            threads.shutdownNow();
        }
    }

    private String all(List<String[]> acts) throws Exception {
        StringBuilder said = new StringBuilder();
        try (Admin admin = Admin.create(properties);
                KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties);
                KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
            for (String[] act : acts) {
                String answer = answer(() -> attempt(act, admin, producer, consumer));
                said.append(name).append('\t').append(act[0]).append('\t').append(act[1]).append('\t').append(answer).append('\n');
            }
        }
        return said.toString();
    }

    private Object attempt(
            String[] act, Admin admin, KafkaProducer<byte[], byte[]> producer, KafkaConsumer<byte[], byte[]> consumer) throws Exception {
        String on = act[1];
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, on);
        switch (act[0]) {
            case "read":
                return read(consumer, on);
            case "write":
                return producer.send(new ProducerRecord<>(on, 0, name.getBytes(), "attempt".getBytes())).get();
            case "describe-configs":
                return admin.describeConfigs(List.of(topic)).all().get();
            case "alter-configs":
                ConfigEntry entry = new ConfigEntry("max.message.bytes", "1048588");
                AlterConfigOp set = new AlterConfigOp(entry, AlterConfigOp.OpType.SET);
                return admin.incrementalAlterConfigs(Map.of(topic, List.of(set))).all().get();
            case "create":
                return admin.createTopics(List.of(new NewTopic(on + name, 1, (short) 1))).all().get();
            case "delete-records":
                return admin.deleteRecords(Map.of(new TopicPartition(on, 0), RecordsToDelete.beforeOffset(0))).all().get();
            case "delete":
                return admin.deleteTopics(List.of(on)).all().get();
            case "more-partitions":
                return admin.createPartitions(Map.of(on, NewPartitions.increaseTo(99))).all().get();
            case "group":
                return commit(admin, on, act[2]);
            case "transaction":
                return transact(on);
            case "see-grants":
                return admin.describeAcls(AclBindingFilter.ANY).values().get();
            case "see-users":
                return admin.describeUserScramCredentials().all().get();
            default:
                throw new IllegalArgumentException(act[0]);
        }
    }

    /** There is a record to be read in every topic. */
    private Object read(KafkaConsumer<byte[], byte[]> consumer, String topic) {
        List<TopicPartition> first = List.of(new TopicPartition(topic, 0));
        consumer.assign(first);
        consumer.seekToBeginning(first);
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (System.nanoTime() < deadline) {
            if (!consumer.poll(Duration.ofMillis(20)).isEmpty()) {
                return topic;
            }
        }
        throw new IllegalStateException("neither a record nor a refusal");
    }

    /** Whether the group lets it in; whether the topic does is another attempt. */
    private static Object commit(Admin admin, String group, String topic) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offset = Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0L));
        try {
            return admin.alterConsumerGroupOffsets(group, offset).all().get();
        } catch (ExecutionException error) {
            if (error.getCause() instanceof TopicAuthorizationException) {
                return group;
            }
            throw error;
        }
    }

    private Object transact(String id) {
        Properties own = new Properties();
        own.putAll(properties);
        own.put("enable.idempotence", "true");
        own.put("transactional.id", id);
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(own)) {
            producer.initTransactions();
        }
        return id;
    }

    private static String answer(Callable<Object> attempt) {
        try {
            attempt.call();
            return "yes";
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            return cause instanceof AuthorizationException ? "no" : "? " + cause.toString().replaceAll("\\s+", " ");
        }
    }
}
