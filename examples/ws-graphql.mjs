/** GraphQL subscriptions by graphql-ws on tidings/ws: `node examples/ws-graphql.mjs`. */
import { createServer } from 'node:http';
import { GraphQLInt, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'tidings/ws';

const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: 'Query',
    fields: { hello: { type: GraphQLString, resolve: () => 'world' } },
  }),
  subscription: new GraphQLObjectType({
    name: 'Subscription',
    fields: {
      countdown: {
        type: GraphQLInt,
        args: { from: { type: new GraphQLNonNull(GraphQLInt) } },
        subscribe: async function* (_root, { from }) {
          for (let countdown = from; countdown >= 0; countdown--) yield { countdown };
        },
      },
    },
  }),
});

const http = createServer();
const wss = new WebSocketServer({ server: http, path: '/graphql' });
const graphql = useServer({ schema }, wss);

http.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}/`);
});
process.once('SIGTERM', async () => {
  await graphql.dispose();
  http.close();
});
