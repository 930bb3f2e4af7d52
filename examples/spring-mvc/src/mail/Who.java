package mail;

import java.io.IOException;
import java.util.Set;
import javax.servlet.http.HttpServletResponse;
import org.apache.shiro.SecurityUtils;
import org.apache.shiro.session.Session;
import org.apache.shiro.subject.Subject;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.stereotype.Controller;
import org.springframework.web.bind.annotation.GetMapping;

/**
 * What tidings asks about the cookies of a page: whose they are, by which login, until when, and which topics he may
 * have. 401: nobody's (any more). 403: somebody's who may not come in.
 */
@Controller
public class Who {
  /** The topic of those who have the role "dispatcher". */
  static final String DISPATCH = "dispatch";

  @Autowired
  private Accounts accounts;

  @GetMapping("/who")
  public void who(HttpServletResponse response) throws IOException {
    response.setHeader("Cache-Control", "no-store");
    Subject subject = SecurityUtils.getSubject();
    if (!subject.isAuthenticated()) {
      response.setStatus(401);
      return;
    }
    String user = (String) subject.getPrincipal();
    if (accounts.isLocked(user)) {
      response.setStatus(403);
      return;
    }
    Session session = subject.getSession(false);
    Set<String> roles = accounts.roles(user);
    long expires = session.getLastAccessTime().getTime() + session.getTimeout();
    response.setContentType("application/json;charset=UTF-8");
    response.getWriter().write("{\"user\":" + Tidings.quote(user)
        + ",\"login\":" + Tidings.quote((String) session.getAttribute(Pages.LOGIN))
        + ",\"expires\":" + expires
        + ",\"topics\":[" + (roles.contains("dispatcher") ? Tidings.quote(DISPATCH) : "") + "]}");
  }
}
