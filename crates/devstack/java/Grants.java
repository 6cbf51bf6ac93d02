import java.nio.file.Files;
import java.nio.file.Path;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialAlteration;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Makes the users and grants of a cluster exactly what standard input lists: what is missing comes, what is not listed goes.
 *
 * One line each, fields separated by tabs: {@code user <name> <password file>} and
 * {@code grant <principal> <resource type> <resource name> <pattern type> <operation>}. The only argument is a properties file for the
 * client. It ends when the broker itself answers with exactly these grants, so that whoever comes next is let in.
 */
public class Grants {
    private static final long PATIENCE_MILLISECONDS = 30_000;

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (InputStream file = Files.newInputStream(Path.of(arguments[0]))) {
            properties.load(file);
        }
        List<UserScramCredentialAlteration> users = new ArrayList<>();
        Set<AclBinding> wanted = new HashSet<>();
        for (String line : new String(System.in.readAllBytes()).split("\n")) {
            String[] field = line.split("\t");
            if (field[0].equals("user")) {
                String password = Files.readString(Path.of(field[2])).strip();
                users.add(new UserScramCredentialUpsertion(
                        field[1], new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password));
            } else if (field[0].equals("grant")) {
                wanted.add(new AclBinding(
                        new ResourcePattern(
                                ResourceType.fromString(field[2]), field[3], PatternType.fromString(field[4])),
                        new AccessControlEntry(
                                "User:" + field[1], "*", AclOperation.fromString(field[5]), AclPermissionType.ALLOW)));
            } else {
                throw new IllegalArgumentException("a line that is neither user nor grant: " + line);
            }
        }
        try (Admin admin = Admin.create(properties)) {
            if (!users.isEmpty()) {
                admin.alterUserScramCredentials(users).all().get();
            }
            Set<AclBinding> there = new HashSet<>(admin.describeAcls(AclBindingFilter.ANY).values().get());
            admin.deleteAcls(there.stream().filter(acl -> !wanted.contains(acl)).map(AclBinding::toFilter)
                    .collect(Collectors.toList())).all().get();
            admin.createAcls(wanted.stream().filter(acl -> !there.contains(acl)).collect(Collectors.toList())).all().get();
            // The controller has them; the broker applies them a moment later.
            long deadline = System.currentTimeMillis() + PATIENCE_MILLISECONDS;
            while (!wanted.equals(new HashSet<>(admin.describeAcls(AclBindingFilter.ANY).values().get()))) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("the broker does not show the grants that it was given");
                }
                Thread.sleep(20);
            }
        }
    }
}
