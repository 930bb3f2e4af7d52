-- Messages that wait to be sent by tidings. Insert into it in the transaction that the message belongs to.
CREATE TABLE tidings_outbox (
  id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  -- What tells this message from all others: sent once, however often it is read.
  uid        VARCHAR(255) NOT NULL DEFAULT (UUID()),
  -- One of the two; or neither, and "users" in settings.
  user_name  VARCHAR(255),
  topic      VARCHAR(255),
  -- JSON, as it came: the type JSON of MySQL would change it.
  data       LONGTEXT NOT NULL,
  -- What else a message may have, as JSON: {"ttl": 60000, "replaces": "cart"}.
  settings   LONGTEXT,
  created    TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  -- Who reads it. Whatever is for one user or topic is read by one instance.
  share      TINYINT GENERATED ALWAYS AS (IFNULL(1 + (CRC32(COALESCE(user_name, topic)) & 15), 0)) STORED,
  KEY share_id (share, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What could never be sent, with the reason.
CREATE TABLE tidings_outbox_dead (
  number     BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  id         BIGINT NOT NULL,
  uid        VARCHAR(255) NOT NULL,
  user_name  VARCHAR(255),
  topic      VARCHAR(255),
  data       LONGTEXT,
  settings   LONGTEXT,
  created    TIMESTAMP(3) NULL,
  failed     TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  reason     TEXT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
