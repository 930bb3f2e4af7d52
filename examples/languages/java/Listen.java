import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Prints what comes for the user of a ticket or token, a message a line: java Listen.java TICKET
 *
 * In plain mode, where each frame is a message's data, as the JDK can't read JSON: what is sent while it is away is not
 * printed. docs/wire.md says what to do for that. Ends with status 1 where the server says not to come back.
 */
public class Listen implements WebSocket.Listener {
  private final StringBuilder message = new StringBuilder();
  private volatile long lastSign = System.nanoTime();
  /** The close code, or what went wrong. */
  final CompletableFuture<Integer> closed = new CompletableFuture<>();

  @Override
  public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
    message.append(part);
    if (isLast) {
      System.out.println(message);
      message.setLength(0);
    }
    return sign(socket);
  }

  /** Answered by the JDK. The server pings whoever is silent, so nothing at all for a minute is a dead line. */
  @Override
  public CompletionStage<?> onPing(WebSocket socket, ByteBuffer payload) {
    return sign(socket);
  }

  @Override
  public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
    System.err.println("closed: " + code + " " + reason);
    closed.complete(code);
    return null;
  }

  @Override
  public void onError(WebSocket socket, Throwable error) {
    closed.completeExceptionally(error);
  }

  private CompletionStage<?> sign(WebSocket socket) {
    lastSign = System.nanoTime();
    socket.request(1);
    return null;
  }

  /** @return the close code; 1006 where the connection was lost */
  int await(WebSocket socket) throws InterruptedException {
    while (true) {
      try {
        return closed.get(5, TimeUnit.SECONDS);
      } catch (TimeoutException none) {
        if (System.nanoTime() - lastSign < 60_000_000_000L) continue;
        System.err.println("nothing came for a minute");
      } catch (java.util.concurrent.ExecutionException lost) {
        System.err.println("lost: " + lost.getCause());
      }
      socket.abort();
      return 1006;
    }
  }

  public static void main(String[] args) throws Exception {
    String server = System.getenv().getOrDefault("TIDINGS_URL", "http://127.0.0.1:8080");
    URI address = URI.create(server.replaceFirst("^http", "ws") + "/socketServer");
    HttpClient client = HttpClient.newHttpClient();
    while (true) {
      Listen listen = new Listen();
      int code = 1006;
      try {
        WebSocket socket = client.newWebSocketBuilder()
            .header("Cookie", "tidings_ticket=" + args[0])
            .connectTimeout(Duration.ofSeconds(12))
            .buildAsync(address, listen)
            .join();
        code = listen.await(socket);
      } catch (CompletionException exception) {
        Throwable cause = exception.getCause();
        int status = cause instanceof WebSocketHandshakeException
            ? ((WebSocketHandshakeException) cause).getResponse().statusCode()
            : 0;
        System.err.println(status == 0 ? "no connection: " + cause : "the server says " + status);
        if (status == 400 || status == 401 || status == 403 || status == 404) code = 4500;
      }
      if (code >= 4500 && code < 5000) System.exit(1);
      Thread.sleep(2000);
    }
  }
}
