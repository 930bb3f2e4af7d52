/** The behavioural suites, run against the broker over PostgreSQL. */
import { after, before } from 'node:test';
import type { BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { brokerSuite } from './broker-suite.ts';
import { marksSuite } from './marks-suite.ts';

const { skip } = needs('postgres');
let server: PostgresServer;
before(async () => {
  if (!skip) server = await startPostgres();
});
after(() => server?.stop());

const factory = () => ({
  async open(listener: BrokerListener) {
    const broker = postgresBroker(server.url, { connections: 4 });
    await broker.open(listener);
    return broker;
  },
});
brokerSuite('PostgreSQL', factory, skip);
marksSuite('PostgreSQL', factory, skip);
