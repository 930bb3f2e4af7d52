package mail;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.URL;
import java.net.URLEncoder;
import java.util.UUID;

/**
 * The admin API of tidings, for Java 8 and later, without dependencies. Takes the addresses of all instances: where
 * one is away, the next is asked, and a message is stored once, however often it had to be sent.
 */
public class Tidings {
  /** Milliseconds in which another instance is tried. */
  private static final int PATIENCE = 15_000;
  private static final int CONNECT_TIMEOUT = 3_000;
  /** Longer than tidings takes at most, which is 10 s. */
  private static final int READ_TIMEOUT = 12_000;
  private final String[] addresses;
  private final String token;
  private volatile int current;

  /** @param addresses such as {@code http://10.0.0.5:8080}, separated by commas */
  public Tidings(String addresses, String token) {
    this.addresses = addresses.split(",");
    this.token = token;
  }

  /**
   * Stores a message for all pages of a user.
   *
   * @param json the data, any JSON value
   * @param key the same for the same message, so that it is stored once; null for one made up
   * @return the receipt, as JSON
   * @throws IOException if it could not be stored in time: send it again with the same key
   */
  public String send(String user, String json, String key) throws IOException {
    return call("POST", "/api/users/" + encode(user) + "/messages", json, key);
  }

  /** The same for all pages that have subscribed to a topic. */
  public String publish(String topic, String json, String key) throws IOException {
    return call("POST", "/api/topics/" + encode(topic) + "/messages", json, key);
  }

  /**
   * Ends all pages of one login of a user, on every instance. When this returns, none of them gets anything more.
   *
   * @param login as {@code /who} has told it; null for all of the user's
   * @param reason for the pages, at most 123 bytes in UTF-8
   */
  public String end(String user, String login, String reason) throws IOException {
    String query = "?reason=" + encode(reason) + (login == null ? "" : "&login=" + encode(login));
    return call("DELETE", "/api/users/" + encode(user) + "/sessions" + query, null, null);
  }

  /**
   * Something of a user has changed: tidings asks {@code /who} about all his pages now, on every instance. When this
   * returns, they have what it says: other topics, or their end.
   */
  public String recheck(String user) throws IOException {
    return call("POST", "/api/users/" + encode(user) + "/recheck", null, null);
  }

  /** Ends all pages of a user, for this reason, and lets none in again, until {@link #unblock}. */
  public String block(String user, String reason) throws IOException {
    return call("PUT", "/api/users/" + encode(user) + "/block", json("reason", reason), null);
  }

  public String unblock(String user) throws IOException {
    return call("DELETE", "/api/users/" + encode(user) + "/block", null, null);
  }

  private String call(String method, String path, String body, String key) throws IOException {
    String once = key == null ? UUID.randomUUID().toString() : key;
    long deadline = System.nanoTime() + PATIENCE * 1_000_000L;
    for (int attempt = 1;; attempt++) {
      int index = current;
      IOException problem;
      try {
        return ask(addresses[index], method, path, body, once);
      } catch (Refused refused) {
        throw refused;
      } catch (IOException failure) {
        problem = failure;
      }
      current = (index + 1) % addresses.length;
      if (System.nanoTime() > deadline) throw problem;
      if (attempt % addresses.length == 0) pause();
    }
  }

  private String ask(String address, String method, String path, String body, String key) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) new URL(address + path).openConnection();
    connection.setRequestMethod(method);
    connection.setConnectTimeout(CONNECT_TIMEOUT);
    connection.setReadTimeout(READ_TIMEOUT);
    connection.setRequestProperty("Authorization", "Bearer " + token);
    // HttpURLConnection itself may send a POST twice: the key makes that harmless.
    connection.setRequestProperty("Idempotency-Key", key);
    if (body != null) {
      byte[] bytes = body.getBytes(UTF_8);
      connection.setDoOutput(true);
      connection.setRequestProperty("Content-Type", "application/json");
      connection.setFixedLengthStreamingMode(bytes.length);
      try (OutputStream out = connection.getOutputStream()) {
        out.write(bytes);
      }
    }
    int status = connection.getResponseCode();
    // Read to its end, so that the connection is used again.
    String answer = read(status < 400 ? connection.getInputStream() : connection.getErrorStream());
    if (status < 300) return answer;
    String what = method + " " + path + ": " + status + " " + answer;
    if (status == 429 || status >= 502) throw new IOException(what);
    throw new Refused(what);
  }

  private static String read(InputStream in) throws IOException {
    if (in == null) return "";
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    byte[] buffer = new byte[4096];
    try (InputStream stream = in) {
      for (int n = stream.read(buffer); n >= 0; n = stream.read(buffer)) out.write(buffer, 0, n);
    }
    return out.toString("UTF-8");
  }

  private static void pause() throws IOException {
    try {
      Thread.sleep(100);
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", stop);
    }
  }

  /** For a part of a path: URLEncoder is made for forms, where a space is a plus. */
  public static String encode(String name) throws IOException {
    return URLEncoder.encode(name, "UTF-8").replace("+", "%20");
  }

  /** A JSON object of strings: name, value, name, value … Use Jackson where you have it. */
  public static String json(String... pairs) {
    StringBuilder out = new StringBuilder("{");
    for (int i = 0; i < pairs.length; i += 2) {
      if (i > 0) out.append(',');
      out.append(quote(pairs[i])).append(':').append(quote(pairs[i + 1]));
    }
    return out.append('}').toString();
  }

  public static String quote(String text) {
    StringBuilder out = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') out.append('\\').append(c);
      else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
      else out.append(c);
    }
    return out.append('"').toString();
  }

  /** tidings has understood, and says no: asking again is of no use. */
  public static class Refused extends IOException {
    Refused(String message) {
      super(message);
    }
  }
}
