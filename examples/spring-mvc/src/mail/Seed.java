package mail;

import java.io.IOException;

/** Accounts to play with. */
public class Seed {
  private static final long HALF_AN_HOUR = 30 * 60_000;

  public static void main(String[] args) throws IOException {
    try (Redis redis = new Redis(args[0], Integer.parseInt(args[1]))) {
      Accounts accounts = new Accounts(redis);
      accounts.create("alice", "alice-1", "dispatcher", HALF_AN_HOUR);
      accounts.create("张伟", "zhangwei-1", "dispatcher", HALF_AN_HOUR);
      accounts.create("kim", "kim-1", "", Long.parseLong(args[2]));
      accounts.create("root", "root-1", "admin", HALF_AN_HOUR);
    }
  }
}
