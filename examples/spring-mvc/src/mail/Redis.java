package mail;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

/** Commands for Redis over one connection, for where there is no Jedis. Use Jedis or Lettuce where you can. */
public class Redis implements Closeable {
  private static final int TIMEOUT = 5_000;
  private final String host;
  private final int port;
  private Socket socket;
  private DataInputStream in;

  public Redis(String host, int port) {
    this.host = host;
    this.port = port;
  }

  /**
   * Sends a command of strings (as UTF-8) and byte arrays.
   *
   * @return byte[], Long, List of these, or null
   * @throws IOException also where Redis answers with an error
   */
  public synchronized Object call(Object... command) throws IOException {
    // A connection that Redis has closed since the last command shows only now.
    boolean isFresh = socket == null;
    try {
      return ask(command);
    } catch (ErrorReply answer) {
      throw answer;
    } catch (IOException problem) {
      close();
      // Only what may be done twice is done again.
      if (isFresh || !(command[0].equals("GET") || command[0].equals("SET") || command[0].equals("HGETALL")))
        throw problem;
      return ask(command);
    }
  }

  public String text(Object... command) throws IOException {
    byte[] bytes = (byte[]) call(command);
    return bytes == null ? null : new String(bytes, UTF_8);
  }

  @Override
  public synchronized void close() throws IOException {
    if (socket != null) socket.close();
    socket = null;
  }

  private Object ask(Object[] command) throws IOException {
    if (socket == null) {
      socket = new Socket(host, port);
      socket.setSoTimeout(TIMEOUT);
      socket.setTcpNoDelay(true);
      in = new DataInputStream(new BufferedInputStream(socket.getInputStream()));
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(("*" + command.length + "\r\n").getBytes(UTF_8));
    for (Object part : command) {
      byte[] bytes = part instanceof byte[] ? (byte[]) part : part.toString().getBytes(UTF_8);
      out.write(("$" + bytes.length + "\r\n").getBytes(UTF_8));
      out.write(bytes);
      out.write("\r\n".getBytes(UTF_8));
    }
    socket.getOutputStream().write(out.toByteArray());
    return reply();
  }

  private Object reply() throws IOException {
    String line = line();
    String rest = line.substring(1);
    switch (line.charAt(0)) {
      case '+':
        return rest.getBytes(UTF_8);
      case '-':
        throw new ErrorReply(rest);
      case ':':
        return Long.valueOf(rest);
      case '$':
        int length = Integer.parseInt(rest);
        if (length < 0) return null;
        byte[] bytes = new byte[length];
        in.readFully(bytes);
        line();
        return bytes;
      case '*':
        int count = Integer.parseInt(rest);
        if (count < 0) return null;
        List<Object> list = new ArrayList<>();
        for (int i = 0; i < count; i++) list.add(reply());
        return list;
      default:
        throw new IOException("Redis said " + line);
    }
  }

  private String line() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    for (int b = in.read(); b != '\r'; b = in.read()) {
      if (b < 0) throw new EOFException("Redis closed the connection");
      bytes.write(b);
    }
    in.read();
    return bytes.toString("UTF-8");
  }

  /** Redis has understood, and says no. */
  public static class ErrorReply extends IOException {
    ErrorReply(String message) {
      super(message);
    }
  }
}
