import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** A ticket for a page of USER, a JSON Web Token (HS256): TIDINGS_JWT_SECRET=… java Ticket.java USER [SECONDS] */
public class Ticket {
  static String sign(String user, long seconds, String secret) throws Exception {
    Base64.Encoder base64url = Base64.getUrlEncoder().withoutPadding();
    String name = user.replace("\\", "\\\\").replace("\"", "\\\"");
    String claims = "{\"sub\":\"" + name + "\",\"exp\":" + (System.currentTimeMillis() / 1000 + seconds) + "}";
    String signed = base64url.encodeToString("{\"alg\":\"HS256\",\"typ\":\"JWT\"}".getBytes(UTF_8)) + "."
        + base64url.encodeToString(claims.getBytes(UTF_8));
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(secret.getBytes(UTF_8), "HmacSHA256"));
    return signed + "." + base64url.encodeToString(mac.doFinal(signed.getBytes(UTF_8)));
  }

  public static void main(String[] args) throws Exception {
    long seconds = args.length > 1 ? Long.parseLong(args[1]) : 600;
    System.out.println(sign(args[0], seconds, System.getenv("TIDINGS_JWT_SECRET")));
  }
}
