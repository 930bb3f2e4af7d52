package mail;

import javax.servlet.http.HttpServletRequest;
import org.apache.shiro.session.InvalidSessionException;
import org.apache.shiro.session.mgt.SessionKey;
import org.apache.shiro.web.session.mgt.DefaultWebSessionManager;
import org.apache.shiro.web.util.WebUtils;

/**
 * Shiro's own sessions. Every request of the user makes his session live longer, but for those of tidings: it asks for
 * as long as a page is open, and nobody would ever be signed out.
 */
public class Sessions extends DefaultWebSessionManager {
  @Override
  public void touch(SessionKey key) throws InvalidSessionException {
    HttpServletRequest request = WebUtils.isHttp(key) ? WebUtils.getHttpRequest(key) : null;
    if (request == null || !request.getServletPath().equals("/who")) super.touch(key);
  }
}
