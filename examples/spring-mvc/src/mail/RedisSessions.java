package mail;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.Serializable;
import java.util.Collection;
import java.util.Collections;
import org.apache.shiro.session.Session;
import org.apache.shiro.session.UnknownSessionException;
import org.apache.shiro.session.mgt.SimpleSession;
import org.apache.shiro.session.mgt.eis.AbstractSessionDAO;

/** Shiro's sessions in Redis, so that both instances know them. Redis itself removes those that have run out. */
public class RedisSessions extends AbstractSessionDAO {
  private final Redis redis;

  public RedisSessions(Redis redis) {
    this.redis = redis;
  }

  @Override
  protected Serializable doCreate(Session session) {
    Serializable id = generateSessionId(session);
    assignSessionId(session, id);
    write(session, "NX");
    return id;
  }

  @Override
  protected Session doReadSession(Serializable id) {
    try {
      byte[] bytes = (byte[]) redis.call("GET", key(id));
      if (bytes == null) return null;
      return (Session) new ObjectInputStream(new ByteArrayInputStream(bytes)).readObject();
    } catch (IOException | ClassNotFoundException problem) {
      throw new IllegalStateException("the session can't be read", problem);
    }
  }

  @Override
  public void update(Session session) throws UnknownSessionException {
    // XX: a request that was under way while another one signed out must not bring the session back.
    if (((SimpleSession) session).isValid()) write(session, "XX");
  }

  @Override
  public void delete(Session session) {
    try {
      redis.call("DEL", key(session.getId()));
    } catch (IOException problem) {
      throw new IllegalStateException("the session can't be removed", problem);
    }
  }

  /** Only asked for by Shiro's validation of all sessions, which Redis makes needless. */
  @Override
  public Collection<Session> getActiveSessions() {
    return Collections.emptySet();
  }

  private void write(Session session, String condition) {
    try {
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
        out.writeObject(session);
      }
      redis.call("SET", key(session.getId()), bytes.toByteArray(),
          "PX", Long.toString(session.getTimeout()), condition);
    } catch (IOException problem) {
      throw new IllegalStateException("the session can't be stored", problem);
    }
  }

  private static String key(Serializable id) {
    return "mail:session:" + id;
  }
}
