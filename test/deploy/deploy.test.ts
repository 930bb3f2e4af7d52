/**
 * What deploy/ has for Docker and Kubernetes. Neither runs here, nor does Helm: the Dockerfile is read by a linter, the
 * manifests by Kubernetes' own schemas, and the chart's template is rendered by Go's, with the functions that it uses.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { validate } from 'dockerfile-utils';
import { parse, parseAllDocuments } from 'yaml';
import { environmentName } from '../../src/cli/options.ts';
import { serveOptions } from '../../src/cli/serve-options.ts';
import { PushServer } from '../../src/index.ts';
import { needs } from '../support/programs.ts';

const require = createRequire(import.meta.url);
const text = (path: string): string => readFileSync(`deploy/${path}`, 'utf8');

/** Names in the environment of every option of `tidings serve`. */
const NAMES = Object.keys(serveOptions).map(environmentName);
const known = (name: string): void => assert.ok(NAMES.includes(name), `${name} is no setting`);

describe('the Dockerfile', () => {
  const file = text('docker/Dockerfile');
  const last = file.slice(file.lastIndexOf('\nFROM '));

  test('is one, by a linter', () => {
    assert.deepEqual(validate(file), []);
  });

  test('makes an image that holds no tools, runs as nobody, can be asked how it is, and hears signals itself', () => {
    assert.match(last, /^FROM node:\d+-slim$/m);
    assert.match(last, /^USER (?!0)\d+:\d+$/m);
    assert.match(last, /^STOPSIGNAL SIGTERM$/m);
    assert.doesNotMatch(last, /^RUN|apt-get|curl/m);
    for (const instruction of ['ENTRYPOINT', 'CMD'])
      JSON.parse(last.match(new RegExp(`^${instruction} (\\[.*\\])$`, 'm'))![1]!);
    for (const [, name] of last.matchAll(/(TIDINGS_\w+)=/g)) known(name!);
  });

  test('has a health check that says what /livez says', async (t) => {
    const check = JSON.parse(last.match(/^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$/m)![1]!) as string[];
    const run = async (port: number): Promise<number | null> => {
      const env = { ...process.env, TIDINGS_PORT: String(port) };
      const [code] = await once(spawn(process.execPath, check.slice(1), { env, stdio: 'inherit' }), 'exit');
      return code as number | null;
    };
    let status = 200;
    const server = createServer((request, response) => {
      response.statusCode = request.url === '/livez' ? status : 404;
      response.end();
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    assert.equal(await run(port), 0);
    status = 503;
    assert.equal(await run(port), 1);
    server.close();
    server.closeAllConnections();
    assert.equal(await run(port), 1);
  });
});

test('the containers of compose.yaml may write nothing, and are given time to drain', () => {
  const { services } = parse(text('docker/compose.yaml'), { merge: true }) as {
    services: Record<string, Record<string, never>>;
  };
  for (const name of ['one', 'two']) {
    const service = services[name]!;
    assert.equal(service['read_only'], true);
    assert.deepEqual(service['cap_drop'], ['ALL']);
    const environment = service['environment'] as Record<string, string>;
    for (const setting of Object.keys(environment)) known(setting);
    assert.ok(
      parseInt(service['stop_grace_period']!, 10) * 1000 > Number(environment['TIDINGS_DRAIN']) + 10_000,
    );
    // The port of operators is on no address of the host.
    assert.ok((service['ports'] as string[]).every((port) => port.endsWith(':8080')));
  }
});

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has a specification of its own, which the schema checks
  spec: any;
}

function manifests(yaml: string): Manifest[] {
  return parseAllDocuments(yaml).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
}

/** @throws where Kubernetes' schema of its kind has an objection */
function check(manifest: Manifest): void {
  const { apiVersion, kind } = manifest;
  const model = require(`kubernetes-models/${apiVersion}/${kind}`) as Record<
    string,
    new (
      manifest: Manifest,
    ) => { validate(): void }
  >;
  new model[kind]!(manifest).validate();
}

describe('the manifests of Kubernetes', () => {
  const all = manifests(text('kubernetes/tidings.yaml'));
  const of = (kind: string): Manifest['spec'] => all.find((manifest) => manifest.kind === kind)!.spec;

  test('are what they should be, by its schemas', () => {
    assert.deepEqual(
      all.map(({ kind }) => kind),
      ['Deployment', 'Service', 'PodDisruptionBudget', 'NetworkPolicy', 'HorizontalPodAutoscaler', 'Ingress'],
    );
    for (const manifest of all) check(manifest);
    assert.throws(() => check({ ...all[0]!, spec: { ...all[0]!.spec, replicas: 'many' } }));
  });

  test('let a pod live until it has drained, and ask the right doors how it is', () => {
    const { terminationGracePeriodSeconds: grace, containers } = of('Deployment').template.spec;
    const [container] = containers;
    const setting = (name: string): string =>
      container.env.find((variable: { name: string }) => variable.name === name).value;
    for (const { name } of container.env) known(name);
    const [, , sleep] = container.lifecycle.preStop.exec.command;
    const preStop = Number(/(\d+)\)$/.exec(sleep)![1]);
    assert.ok(grace * 1000 >= preStop + Number(setting('TIDINGS_DRAIN')) + 10_000);
    assert.equal(container.livenessProbe.httpGet.path, '/livez');
    assert.equal(container.readinessProbe.httpGet.path, '/readyz');
    assert.equal(container.securityContext.readOnlyRootFilesystem, true);
    assert.equal(of('Deployment').template.spec.securityContext.runAsNonRoot, true);
    // Who counts the pods does not count against who scales them.
    assert.equal(of('Deployment').replicas, undefined);
  });

  test('keep what is for operators from everybody else', () => {
    assert.deepEqual(
      of('Service').ports.map(({ targetPort }: { targetPort: string }) => targetPort),
      ['http'],
    );
    const rules = of('NetworkPolicy').ingress as { ports: { port: string }[]; from?: unknown[] }[];
    const admin = rules.filter(({ ports }) => ports.some(({ port }) => port === 'admin'));
    assert.equal(admin.length, 1);
    assert.ok(admin[0]!.from!.length > 0);
    const paths = of('Ingress').rules[0].http.paths.map(({ path }: { path: string }) => path);
    assert.deepEqual(paths, ['/socketServer', '/sockjs']);
  });

  test('scale by a metric that there is', async () => {
    const { name } = of('HorizontalPodAutoscaler').metrics[0].pods.metric;
    const push = new PushServer({ port: 0, host: '127.0.0.1', log: () => {} });
    await push.ready;
    const names = push.metrics().map((family) => family.name);
    await push.close();
    assert.ok(names.includes(name), `${name} is not in ${names}`);
    assert.ok(text('kubernetes/prometheus-adapter.yaml').includes(`'${name}{`));
  });
});

// Helm's templates are Go's.
describe('the Helm chart', needs('go'), () => {
  const values = parse(text('helm/tidings/values.yaml')) as Record<string, object>;
  const render = (more: Record<string, object>): string => {
    const input = { Release: { Name: 'tidings' }, Values: { ...values, ...more } };
    const { status, stdout, stderr } = spawnSync(
      'go',
      ['run', 'test/deploy/render.go', 'deploy/helm/tidings/templates/tidings.yaml'],
      {
        input: JSON.stringify(input),
        encoding: 'utf8',
        env: { ...process.env, GOFLAGS: '-mod=mod', GO111MODULE: 'off' },
      },
    );
    assert.equal(status, 0, stderr);
    return stdout;
  };
  const all = {
    autoscaling: { ...values['autoscaling'], enabled: true },
    ingress: { ...values['ingress'], enabled: true },
  };

  test('gives, with all that can be switched on, the manifests of kubernetes/', () => {
    const [head] = text('kubernetes/tidings.yaml').split('\n\n');
    assert.equal(text('kubernetes/tidings.yaml'), `${head}\n\n${render(all)}`);
  });

  test('is right without what can be switched on, and with other values', () => {
    const plain = manifests(render({ settings: { TIDINGS_TOPICS: 'news, "odd": *' } }));
    assert.equal(plain.length, 4);
    for (const manifest of plain) check(manifest);
    assert.equal(plain[0]!.spec.replicas, 3);
    const env = plain[0]!.spec.template.spec.containers[0].env as { name: string; value: string }[];
    assert.equal(env.find(({ name }) => name === 'TIDINGS_TOPICS')!.value, 'news, "odd": *');
  });
});
