import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

/** Asks Go's server at the host that is its argument, over HTTP/1.1 and as one that would like HTTP/2. */
class Client {
    public static void main(String[] arguments) throws Exception {
        URI base = URI.create("http://" + arguments[0] + ":7000");
        for (HttpClient.Version version : HttpClient.Version.values()) {
            HttpClient client = HttpClient.newBuilder().version(version).build();
            HttpResponse<String> first = send(client, HttpRequest.newBuilder(base.resolve("/echo?java")).build());
            if (first.statusCode() == 403) {
                System.out.println("refused: " + first.body());
                System.exit(1);
            }
            System.out.println(first.statusCode() + " " + first.body());

            String large = "large ".repeat(1 << 20);
            HttpRequest put = HttpRequest.newBuilder(base.resolve("/echo")).PUT(BodyPublishers.ofString(large)).build();
            System.out.println("6 MiB there and back: " + send(client, put).body().equals("PUT /echo " + large));
            HttpRequest expects = HttpRequest.newBuilder(base.resolve("/echo")).expectContinue(true)
                    .POST(BodyPublishers.ofString("after")).build();
            System.out.println("continue: " + send(client, expects).body());
            HttpResponse<String> missing = send(client, HttpRequest.newBuilder(base.resolve("/nowhere")).build());
            System.out.println("missing: " + missing.statusCode());

            List<CompletableFuture<HttpResponse<String>>> many = IntStream.range(0, 100).mapToObj(number ->
                    client.sendAsync(HttpRequest.newBuilder(base.resolve("/echo?" + number)).build(), BodyHandlers.ofString())).toList();
            boolean all = IntStream.range(0, 100).allMatch(number -> many.get(number).join().body().equals("GET /echo?" + number + " "));
            System.out.println("at once: " + all);
        }
    }

    private static HttpResponse<String> send(HttpClient client, HttpRequest request) throws Exception {
        return client.send(request, BodyHandlers.ofString());
    }
}
