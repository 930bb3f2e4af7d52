/** nginx and HAProxy as deploy/ configures them, but for ports, certificate and times. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { freePort, until } from '../support/net.ts';
import { editedText, nginxArguments, type Replacement } from '../support/nginx.ts';
import { find } from '../support/programs.ts';

export type ProxyName = 'nginx' | 'haproxy';

export interface Proxy {
  /** Plain HTTP. */
  port: number;
  tlsPort: number;
  certificates: Certificates;
  stop(): Promise<void>;
}

export interface ProxyOptions {
  /** The ports of instances on this machine. */
  targets: number[];
  /** Seconds after which it cuts a connection that is idle; 60 in the files. */
  idle?: number;
  blocksUpgrades?: boolean;
}

export async function startProxy(name: ProxyName, options: ProxyOptions): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), `tidings-${name}-`));
  const certificates = makeCertificates();
  const [port, tlsPort] = [await freePort(), await freePort()];
  const places = { folder, certificates, port, tlsPort };
  const args = name === 'nginx' ? nginx(places, options) : haproxy(places, options);
  const child: ChildProcess = spawn(find(name)!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (text) => {
      output += text;
    });
  }
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    certificates.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(`${name} to listen`, () => {
      if (child.exitCode !== null) throw new Error(`${name} ended:\n${output}`);
      return accepts(port);
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, tlsPort, certificates, stop };
}

interface Places {
  folder: string;
  certificates: Certificates;
  port: number;
  tlsPort: number;
}

function nginx({ folder, certificates, port, tlsPort }: Places, options: ProxyOptions): string[] {
  const { targets, idle = 60, blocksUpgrades = false } = options;
  const site = edited('nginx.conf', [
    [
      'server 127.0.0.1:8080 ',
      targets.map((port) => `server 127.0.0.1:${port} `).join('fail_timeout=1s;\n    '),
    ],
    ['listen 443 ssl;', `listen 127.0.0.1:${tlsPort} ssl; listen 127.0.0.1:${port};`],
    ['/etc/ssl/push.example.com.pem', certificates.certFile],
    ['/etc/ssl/push.example.com.key', certificates.keyFile],
    ['proxy_read_timeout 60s;', `proxy_read_timeout ${idle}s;`],
    ['proxy_send_timeout 60s;', `proxy_send_timeout ${idle}s;`],
    ...(blocksUpgrades
      ? ([['proxy_set_header Upgrade $http_upgrade;', 'proxy_set_header Upgrade "";']] as const)
      : []),
  ]);
  return nginxArguments(folder, site);
}

function haproxy({ folder, certificates, port, tlsPort }: Places, options: ProxyOptions): string[] {
  const { targets, idle = 60, blocksUpgrades = false } = options;
  const both = join(folder, 'both.pem');
  writeFileSync(
    both,
    readFileSync(certificates.certFile, 'utf8') + readFileSync(certificates.keyFile, 'utf8'),
  );
  const text = edited('haproxy.cfg', [
    ['server one 127.0.0.1:8080', targets.map((port) => `server i${port} 127.0.0.1:${port}`).join('\n    ')],
    [
      'bind :443 ssl crt /etc/ssl/push.example.com.both.pem',
      `bind 127.0.0.1:${tlsPort} ssl crt ${both}\n    bind 127.0.0.1:${port}`,
    ],
    ...['client', 'server', 'tunnel'].map(
      (kind) => [`timeout ${kind} 60s`, `timeout ${kind} ${idle}s`] as const,
    ),
    ...(blocksUpgrades
      ? ([
          ['option forwardfor', 'option forwardfor\n    http-request deny if { hdr(Upgrade) -i websocket }'],
        ] as const)
      : []),
  ]);
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(file, text);
  return ['-f', file, '-db'];
}

/** The file of deploy/, with replacements: the tests run what the documents show. */
const edited = (name: string, replacements: readonly Replacement[]): string =>
  editedText(`deploy/${name}`, replacements);

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}
