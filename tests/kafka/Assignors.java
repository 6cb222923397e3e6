// Asks Java's own assignors, and Java's own encoder, for fixtures/group: see fixtures/group/README.md.
import java.nio.ByteBuffer;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.*;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.*;

public class Assignors {
    static final Random random = new Random(43);
    // Java compares UTF-16 units: the last two names stand the other way round in UTF-8.
    static final List<String> NAMES = List.of("a", "B", "b-1", "b-10", "b-2", "z", "\uff5e", "\ud83d\ude00");

    public static void main(String[] args) {
        System.out.println(args[0].equals("bytes") ? bytes()
            : IntStream.range(0, 200).mapToObj(i -> one()).collect(Collectors.joining(",\n", "[\n", "\n]")));
    }

    static String one() {
        var topics = new TreeMap<String, Integer>();
        for (int t = 0, n = 1 + random.nextInt(4); t < n; t++) topics.put("t" + random.nextInt(30), 1 + random.nextInt(9));
        var ids = new ArrayList<>(NAMES);
        Collections.shuffle(ids, random);
        var instances = new ArrayList<>(NAMES);
        Collections.shuffle(instances, random);
        boolean same = random.nextBoolean();
        var members = new ArrayList<String>();
        var range = new LinkedHashMap<String, Subscription>();
        for (int m = 0, n = 1 + random.nextInt(6); m < n; m++) {
            var names = new ArrayList<>(topics.keySet());
            if (!same) names.removeIf(name -> random.nextInt(3) == 0);
            var instance = Optional.of(instances.get(m)).filter(name -> random.nextInt(3) == 0);
            var subscription = new Subscription(names);
            subscription.setGroupInstanceId(instance);
            range.put(ids.get(m), subscription);
            members.add("{\"id\":" + quoted(ids.get(m)) + ",\"instance\":" + instance.map(Assignors::quoted).orElse("null")
                + ",\"topics\":" + list(names) + "}");
        }
        var counts = topics.entrySet().stream().map(e -> quoted(e.getKey()) + ":" + e.getValue());
        return "{\"topics\":{" + counts.collect(Collectors.joining(",")) + "},\"members\":[" + String.join(",", members) + "],\n"
            + " \"range\":" + answer(new RangeAssignor(), topics, range)
            + ",\n \"roundrobin\":" + answer(new RoundRobinAssignor(), topics, range) + "}";
    }

    static String answer(ConsumerPartitionAssignor assignor, Map<String, Integer> topics, Map<String, Subscription> members) {
        var node = new Node(1, "h", 1);
        var all = new ArrayList<PartitionInfo>();
        topics.forEach((topic, count) -> {
            for (int p = 0; p < count; p++) all.add(new PartitionInfo(topic, p, node, new Node[] {node}, new Node[] {node}));
        });
        var cluster = new Cluster("c", List.of(node), all, Set.of(), Set.of());
        var plan = new TreeMap<String, String>();
        assignor.assign(cluster, new GroupSubscription(members)).groupAssignment().forEach((id, assignment) ->
            plan.put(id, list(assignment.partitions().stream().map(tp -> tp.topic() + "/" + tp.partition()).sorted().toList())));
        return plan.entrySet().stream().map(e -> quoted(e.getKey()) + ":" + e.getValue()).collect(Collectors.joining(",", "{", "}"));
    }

    static String list(Collection<String> texts) {
        return texts.stream().map(Assignors::quoted).collect(Collectors.joining(",", "[", "]"));
    }

    static String quoted(String text) {
        return "\"" + text + "\"";
    }

    /** Lines of: what, version, hexadecimal. */
    static String bytes() {
        var lines = new ArrayList<String>();
        var owned = List.of(new TopicPartition("t", 0), new TopicPartition("t", 2));
        var sticky = new CooperativeStickyAssignor();
        for (short version = 0; version <= 3; version++) {
            lines.add(line("range", version, new Subscription(List.of("t"))));
            lines.add(line("cooperative-first", version,
                new Subscription(List.of("t"), sticky.subscriptionUserData(Set.of("t")), List.of(), -1, Optional.empty())));
            var later = new CooperativeStickyAssignor();
            later.onAssignment(new Assignment(owned), new ConsumerGroupMetadata("g", 5, "m", Optional.empty()));
            lines.add(line("cooperative-5-owning-0-2-rack-r", version,
                new Subscription(List.of("t"), later.subscriptionUserData(Set.of("t")), owned, 5, Optional.of("r"))));
            lines.add("assignment-0-2 " + version + " " + hex(ConsumerProtocol.serializeAssignment(new Assignment(owned), version)));
            lines.add("assignment-none " + version + " " + hex(ConsumerProtocol.serializeAssignment(new Assignment(List.of()), version)));
        }
        return String.join("\n", lines);
    }

    static String line(String what, short version, Subscription subscription) {
        return what + " " + version + " " + hex(ConsumerProtocol.serializeSubscription(subscription, version));
    }

    static String hex(ByteBuffer bytes) {
        var copy = bytes.duplicate();
        var all = new byte[copy.remaining()];
        copy.get(all);
        return HexFormat.of().formatHex(all);
    }
}
