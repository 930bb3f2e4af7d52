package mail;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.shiro.authc.AuthenticationException;
import org.apache.shiro.authc.AuthenticationInfo;
import org.apache.shiro.authc.AuthenticationToken;
import org.apache.shiro.authc.LockedAccountException;
import org.apache.shiro.authc.SimpleAuthenticationInfo;
import org.apache.shiro.authc.UnknownAccountException;
import org.apache.shiro.authc.credential.DefaultPasswordService;
import org.apache.shiro.authc.credential.PasswordMatcher;
import org.apache.shiro.authz.AuthorizationInfo;
import org.apache.shiro.authz.SimpleAuthorizationInfo;
import org.apache.shiro.realm.AuthorizingRealm;
import org.apache.shiro.subject.PrincipalCollection;

/** Who may sign in and what he may do: a hash in Redis for each account. In your application it is your database. */
public class Accounts extends AuthorizingRealm {
  private final Redis redis;

  public Accounts(Redis redis) {
    this.redis = redis;
    setCredentialsMatcher(new PasswordMatcher());
    // Roles are looked up each time, so that one taken away counts at once on both instances.
    setAuthorizationCachingEnabled(false);
  }

  /** @param roles separated by commas */
  public void create(String name, String password, String roles, long sessionMillis) throws IOException {
    redis.call("HSET", key(name), "password", new DefaultPasswordService().encryptPassword(password),
        "roles", roles, "session", Long.toString(sessionMillis));
  }

  public boolean isLocked(String name) {
    return "yes".equals(field(name, "locked"));
  }

  public Set<String> roles(String name) {
    String roles = field(name, "roles");
    return roles == null || roles.isEmpty() ? Collections.emptySet() : new TreeSet<>(Arrays.asList(roles.split(",")));
  }

  /** How long a session of this account lives without a request, in milliseconds. */
  public long sessionMillis(String name) {
    return Long.parseLong(field(name, "session"));
  }

  public void lock(String name) throws IOException {
    redis.call("HSET", key(name), "locked", "yes");
  }

  public void takeRole(String name, String role) throws IOException {
    Set<String> roles = roles(name);
    roles.remove(role);
    redis.call("HSET", key(name), "roles", String.join(",", roles));
  }

  @Override
  protected AuthenticationInfo doGetAuthenticationInfo(AuthenticationToken token) {
    String name = (String) token.getPrincipal();
    String password = field(name, "password");
    if (password == null) throw new UnknownAccountException();
    if (isLocked(name)) throw new LockedAccountException();
    return new SimpleAuthenticationInfo(name, password, getName());
  }

  @Override
  protected AuthorizationInfo doGetAuthorizationInfo(PrincipalCollection principals) {
    return new SimpleAuthorizationInfo(roles((String) principals.getPrimaryPrincipal()));
  }

  private String field(String name, String field) {
    try {
      List<?> values = (List<?>) redis.call("HMGET", key(name), field);
      byte[] value = (byte[]) values.get(0);
      return value == null ? null : new String(value, StandardCharsets.UTF_8);
    } catch (IOException problem) {
      throw new AuthenticationException("the accounts can't be read", problem);
    }
  }

  private static String key(String name) {
    return "mail:account:" + name;
  }
}
