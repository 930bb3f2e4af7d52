import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { PushServer, queryUser } from 'tidings';

const script = readFileSync(new URL(import.meta.resolve('tidings/tidings.js')));
const page = `<h1>Tidings for alice</h1><script src="/tidings.js"></script><script>
  tidings.connect({ user: 'alice' }).on('message', ({ data }) => document.body.append(data.subject, ' | '));
</script>`;
const http = createServer(({ url }, response) => response.end(url === '/tidings.js' ? script : page));
const push = new PushServer({ server: http, interceptors: [queryUser('operator')] });
http.listen(process.env.PORT ?? 8080, '127.0.0.1');
const tell = () => push.send('alice', { subject: `it is ${new Date().toLocaleTimeString()}` });
setInterval(() => tell().catch(console.error), 2000);
