package mail;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import org.springframework.http.HttpEntity;
import org.springframework.http.HttpHeaders;
import org.springframework.http.MediaType;
import org.springframework.web.client.RestTemplate;

/**
 * Every way from Java to a user's pages. One is enough for an application: {@link Tidings}, or XADD where the
 * application may use tidings' Redis. The first three show what the usual clients need.
 */
public class Ways {
  private final Tidings tidings;
  private final Redis redis;
  private final String address;
  private final String token;
  private final HttpClient client = HttpClient.newHttpClient();
  private final RestTemplate template = new RestTemplate();

  public Ways(Tidings tidings, Redis redis, String addresses, String token) {
    this.tidings = tidings;
    this.redis = redis;
    this.address = addresses.split(",")[0];
    this.token = token;
  }

  /** @param key the message's own id: what comes twice with it is stored once, but for PUBLISH, which stores nothing */
  public void send(String way, String user, String json, String key) throws IOException, InterruptedException {
    switch (way) {
      case "sender":
        tidings.send(user, json, key);
        break;
      case "http-client":
        byHttpClient(user, json, key);
        break;
      case "url-connection":
        byUrlConnection(user, json, key);
        break;
      case "rest-template":
        byRestTemplate(user, json, key);
        break;
      case "xadd":
        // Stored, and published by whichever instance takes it.
        redis.call("XADD", "tidings:in", "*", "channel", "user:" + user, "kind", "json", "data", json, "key", key);
        break;
      case "publish":
        // To the pages that are open at this moment. Nothing keeps it.
        redis.call("PUBLISH", "tidings:user:" + user, json);
        break;
      default:
        throw new IllegalArgumentException("there is no way " + way);
    }
  }

  private void byHttpClient(String user, String json, String key) throws IOException, InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(messages(user)))
        .header("Authorization", "Bearer " + token)
        .header("Idempotency-Key", key)
        .header("Content-Type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(json))
        .build();
    HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 201) throw new IOException(answer.statusCode() + " " + answer.body());
  }

  private void byUrlConnection(String user, String json, String key) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) new URL(messages(user)).openConnection();
    connection.setConnectTimeout(3_000);
    connection.setReadTimeout(10_000);
    connection.setRequestProperty("Authorization", "Bearer " + token);
    connection.setRequestProperty("Idempotency-Key", key);
    connection.setRequestProperty("Content-Type", "application/json");
    connection.setDoOutput(true);
    try (OutputStream out = connection.getOutputStream()) {
      // getBytes() alone would be in the machine's own encoding before Java 18.
      out.write(json.getBytes(UTF_8));
    }
    if (connection.getResponseCode() != 201) throw new IOException("status " + connection.getResponseCode());
    connection.getInputStream().close();
  }

  private void byRestTemplate(String user, String json, String key) throws IOException {
    HttpHeaders headers = new HttpHeaders();
    headers.set("Authorization", "Bearer " + token);
    headers.set("Idempotency-Key", key);
    // Without the charset Spring 4 writes strings in Latin-1.
    headers.setContentType(MediaType.APPLICATION_JSON_UTF8);
    // As a URI: a string would be taken as a template and encoded once more.
    template.postForObject(URI.create(messages(user)), new HttpEntity<>(json, headers), String.class);
  }

  private String messages(String user) throws IOException {
    return address + "/api/users/" + Tidings.encode(user) + "/messages";
  }
}
