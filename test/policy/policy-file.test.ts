import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildPolicyFile, explainUnreachableGrants, type PolicyOptions } from '../../src/policy/index.ts';

test('a policy grants what is listed, and nothing more', () => {
  const xml = buildPolicyFile({
    siteControl: 'master-only',
    allow: [
      { domain: 'app.example.com', ports: '80, 443' },
      { domain: '*.example.com', ports: '8000-8999', secure: true },
      { domain: '192.0.2.7', ports: 8080, secure: false },
    ],
  });
  assert.equal(
    xml,
    `<?xml version="1.0"?>
<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd">
<cross-domain-policy>
  <site-control permitted-cross-domain-policies="master-only"/>
  <allow-access-from domain="app.example.com" to-ports="80,443"/>
  <allow-access-from domain="*.example.com" to-ports="8000-8999" secure="true"/>
  <allow-access-from domain="192.0.2.7" to-ports="8080" secure="false"/>
</cross-domain-policy>
`,
  );
  assert.ok(!buildPolicyFile({ allow: [] }).includes('allow-access-from'));
});

test('everything for everyone must be asked for', () => {
  assert.match(
    buildPolicyFile({ allow: [{ domain: '*', ports: '*' }] }),
    /<allow-access-from domain="\*" to-ports="\*"\/>/,
  );
  assert.throws(() => buildPolicyFile({} as PolicyOptions), TypeError);
  assert.throws(() => buildPolicyFile({ allow: [{ domain: '*' } as never] }), /not ports for \*/);
  assert.throws(() => buildPolicyFile({ allow: [{ ports: '*' } as never] }), /not a domain/);
});

test('a domain that is none is refused, so no markup gets into the file', () => {
  for (const domain of [
    '',
    ' ',
    'a b',
    'a"/><evil',
    'https://example.com',
    'example.com:80',
    'a.*.com',
    '**',
    '-a.com',
    'a..b',
    '例子.cn',
    `${'a'.repeat(64)}.com`,
    'a&b',
  ]) {
    assert.throws(() => buildPolicyFile({ allow: [{ domain, ports: 80 }] }), /is not a domain/, domain);
  }
});

test('ports out of range, turned round or misspelt are refused', () => {
  for (const ports of ['', '0', '65536', '90-80', '80-', '80;443', '1-2-3', 'http', '80,,443', 0, -1, 1.5]) {
    assert.throws(
      () => buildPolicyFile({ allow: [{ domain: 'a.example', ports }] }),
      /not ports for a.example/,
      String(ports),
    );
  }
});

test('siteControl none next to grants is a contradiction', () => {
  assert.throws(() => buildPolicyFile({ siteControl: 'none', allow: [{ domain: '*', ports: 80 }] }), /voids/);
  assert.match(buildPolicyFile({ siteControl: 'none', allow: [] }), /policies="none"/);
  assert.throws(() => buildPolicyFile({ siteControl: 'some' as never, allow: [] }), /siteControl must be/);
});

test('a policy from port 1024 or above that grants ports below 1024 is pointed out', () => {
  const low = { allow: [{ domain: 'a.example', ports: '80,8080' }] };
  const high = { allow: [{ domain: 'a.example', ports: '1024-65535' }] };
  assert.match(explainUnreachableGrants(low, 8430) ?? '', /port 8430 .*a\.example → 80,8080.*843/s);
  assert.match(explainUnreachableGrants({ allow: [{ domain: '*', ports: '*' }] }, 1024) ?? '', /below 1024/);
  assert.equal(explainUnreachableGrants(low, 843), undefined);
  assert.equal(explainUnreachableGrants(high, 8430), undefined);
});
