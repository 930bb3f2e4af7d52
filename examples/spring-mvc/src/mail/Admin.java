package mail;

import java.io.IOException;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Controller;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;

/**
 * What an administrator does to accounts. First in the database, so that {@code /who} knows it; then tidings is told.
 * Names are parameters and no part of the path: Shiro answers 400 to a path beyond ASCII.
 */
@Controller
public class Admin {
  @Autowired
  private Accounts accounts;
  @Autowired
  private Tidings tidings;

  @PostMapping("/admin/lock")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  public void lock(@RequestParam("name") String name) throws IOException {
    accounts.lock(name);
    tidings.block(name, "您的账号已被锁定");
  }

  @PostMapping("/admin/take-role")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  public void takeRole(@RequestParam("name") String name, @RequestParam("role") String role) throws IOException {
    accounts.takeRole(name, role);
    tidings.recheck(name);
  }
}
