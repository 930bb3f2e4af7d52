import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** A ticket for a page of tidings: TIDINGS_SECRET=… java Ticket.java USER [MILLISECONDS] */
public class Ticket {
  static String sign(String user, long lifetime, String secret) throws Exception {
    Base64.Encoder base64 = Base64.getUrlEncoder().withoutPadding();
    String name = user.replace("\\", "\\\\").replace("\"", "\\\"");
    String content = "{\"u\":\"" + name + "\",\"x\":" + (System.currentTimeMillis() + lifetime) + "}";
    String signed = "t1." + base64.encodeToString(content.getBytes(UTF_8));
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(secret.getBytes(UTF_8), "HmacSHA256"));
    return signed + "." + base64.encodeToString(mac.doFinal(signed.getBytes(UTF_8)));
  }

  public static void main(String[] args) throws Exception {
    long lifetime = args.length > 1 ? Long.parseLong(args[1]) : 600_000;
    System.out.println(sign(args[0], lifetime, System.getenv("TIDINGS_SECRET")));
  }
}
