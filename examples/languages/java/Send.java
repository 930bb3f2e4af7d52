import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.UUID;

/** Sends a message to all pages of a user: TIDINGS_ADMIN_TOKEN=… java Send.java USER JSON [KEY] */
public class Send {
  private static final HttpClient client = HttpClient.newHttpClient();

  /** Returns the receipt. With the same key again nothing is stored twice, so it is safe to ask again. */
  static String send(String server, String token, String user, String json, String key)
      throws IOException, InterruptedException {
    String name = URLEncoder.encode(user, StandardCharsets.UTF_8).replace("+", "%20");
    HttpRequest request = HttpRequest.newBuilder(URI.create(server + "/api/users/" + name + "/messages"))
        .header("Authorization", "Bearer " + token)
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", key)
        .timeout(Duration.ofSeconds(12))
        .POST(HttpRequest.BodyPublishers.ofString(json))
        .build();
    IOException problem = null;
    for (int attempt = 1; attempt <= 3; attempt++) {
      if (attempt > 1) Thread.sleep(attempt * 1000L);
      try {
        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() == 201) return response.body();
        problem = new IOException(response.statusCode() + ": " + response.body());
        if (response.statusCode() < 500) break;
      } catch (IOException exception) {
        problem = exception;
      }
    }
    throw problem;
  }

  public static void main(String[] args) throws InterruptedException {
    String server = System.getenv().getOrDefault("TIDINGS_URL", "http://127.0.0.1:8080");
    String key = args.length > 2 ? args[2] : UUID.randomUUID().toString();
    try {
      System.out.print(send(server, System.getenv("TIDINGS_ADMIN_TOKEN"), args[0], args[1], key));
    } catch (IOException exception) {
      System.err.println("not sent: " + exception);
      System.exit(1);
    }
  }
}
