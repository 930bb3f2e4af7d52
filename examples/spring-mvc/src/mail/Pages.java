package mail;

import java.io.IOException;
import java.util.UUID;
import java.util.logging.Logger;
import org.apache.shiro.SecurityUtils;
import org.apache.shiro.authc.AuthenticationException;
import org.apache.shiro.authc.LockedAccountException;
import org.apache.shiro.authc.UsernamePasswordToken;
import org.apache.shiro.session.Session;
import org.apache.shiro.subject.Subject;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.http.HttpStatus;
import org.springframework.stereotype.Controller;
import org.springframework.ui.Model;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.ResponseStatus;

/** What the user sees, and what he does. */
@Controller
public class Pages {
  /** In the session: what tidings knows this login by. The session's own id is a secret, and stays here. */
  static final String LOGIN = "login";
  private static final Logger LOG = Logger.getLogger(Pages.class.getName());

  @Autowired
  private Accounts accounts;
  @Autowired
  private Tidings tidings;
  @Autowired
  private Ways ways;

  @GetMapping("/login")
  public String login() {
    return "login";
  }

  @PostMapping("/login")
  public String signIn(@RequestParam("name") String name, @RequestParam("password") String password, Model model) {
    Subject subject = SecurityUtils.getSubject();
    // Shiro 1 would go on with the session that the browser came with, whoever began it.
    subject.logout();
    try {
      subject.login(new UsernamePasswordToken(name, password));
    } catch (AuthenticationException refusal) {
      model.addAttribute("problem", refusal instanceof LockedAccountException ? "locked" : "wrong");
      return "login";
    }
    Session session = subject.getSession();
    session.setTimeout(accounts.sessionMillis(name));
    session.setAttribute(LOGIN, UUID.randomUUID().toString());
    return "redirect:/";
  }

  /** The page with the script as it was before there was tidings.js. */
  @GetMapping("/")
  public String mail(Model model) {
    model.addAttribute("user", user());
    return "mail";
  }

  /** The same page with tidings.js. */
  @GetMapping("/client")
  public String client(Model model) {
    model.addAttribute("user", user());
    return "client";
  }

  /**
   * A form and not a link: another site's page must not sign anybody out. First the session, so that no page comes back
   * in with it; then those that are open.
   */
  @PostMapping("/logout")
  public String signOut() {
    Subject subject = SecurityUtils.getSubject();
    String user = user();
    Session session = subject.getSession(false);
    String login = session == null ? null : (String) session.getAttribute(LOGIN);
    subject.logout();
    try {
      if (login != null) tidings.end(user, login, "您已退出登录");
    } catch (IOException problem) {
      // He has signed out all the same: tidings hears of it when it asks again.
      LOG.warning("the pages of " + user + " are still open: " + problem.getMessage());
    }
    return "redirect:/login";
  }

  @PostMapping("/mail")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  public void send(@RequestParam("to") String to, @RequestParam("text") String text, @RequestParam("way") String way,
      @RequestParam("id") String id) throws IOException, InterruptedException {
    // Here your application stores the mail in its own database. Then:
    ways.send(way, to, Tidings.json("id", id, "from", user(), "text", text), id);
  }

  /** To all who are dispatchers at this moment. */
  @PostMapping("/dispatch")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  public void dispatch(@RequestParam("text") String text, @RequestParam("id") String id) throws IOException {
    tidings.publish(Who.DISPATCH, Tidings.json("id", id, "from", "调度", "text", text), id);
  }

  private static String user() {
    return (String) SecurityUtils.getSubject().getPrincipal();
  }
}
