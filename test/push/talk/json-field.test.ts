/** Cutting a field's text out of a frame: the same value as JSON.parse has, and the text as it came. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { textOfField, textsOfElements } from '../../../src/push/talk/json-field.ts';

/** Text that JSON.parse takes, written in all the ways in which JSON can be. */
const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);
const escaped = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
const quoted = fc
  .tuple(
    fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('data', '\\', '"', '\\"', '{', '],')),
    fc.nat(),
  )
  .map(([text, seed]) =>
    [...JSON.stringify(text)].length === text.length + 2 && seed % 2 === 1 && text.length > 0
      ? `"${escaped(text[0]!)}${JSON.stringify(text.slice(1)).slice(1)}`
      : JSON.stringify(text),
  );
const number = fc.stringMatching(/^-?(?:0|[1-9][0-9]{0,24})(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?$/);
const name = fc.oneof(
  quoted,
  fc.constantFrom('"data"', '"d\\u0061ta"', '"\\u0064ata"', '"data "', '"__proto__"'),
);
const { object } = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    number,
    quoted,
    fc.constantFrom('null', 'true', 'false', '[]', '{}'),
    tie('array'),
    tie('object'),
  ),
  array: fc
    .array(fc.tuple(space, tie('value'), space), { maxLength: 4 })
    .map((items) => `[${items.map((item) => item.join('')).join(',')}]`),
  object: fc
    .array(fc.tuple(space, name, space, space, tie('value'), space), { maxLength: 5 })
    .chain((fields) =>
      space.map((inner) => {
        const text = fields.map(([a, key, b, c, value, d]) => `${a}${key}${b}:${c}${value}${d}`).join(',');
        return `{${fields.length === 0 ? inner : text}}`;
      }),
    ),
}));

test('of any object, the field is found where JSON.parse finds one, and its text says the same', () => {
  fc.assert(
    fc.property(
      space,
      object,
      space,
      fc.constantFrom('data', 'x', '\\', ''),
      (before, text, after, wanted) => {
        const whole = `${before}${text}${after}`;
        const parsed = JSON.parse(whole) as Record<string, unknown>;
        const found = textOfField(whole, wanted);
        assert.equal(found !== undefined, Object.hasOwn(parsed, wanted));
        if (found === undefined) return;
        assert.deepEqual(JSON.parse(found), parsed[wanted]);
        assert.equal(found, found.trim());
        assert.ok(whole.includes(found));
      },
    ),
    { numRuns: 5_000 },
  );
});

test('the text is as it came: numbers, spaces, escapes, names that come twice', () => {
  const cases: [text: string, data: string | undefined][] = [
    ['{"data":1724442618569203714}', '1724442618569203714'],
    ['{"data": -0 }', '-0'],
    ['{"data":1.0}', '1.0'],
    ['{"data":1e400,"type":"publish"}', '1e400'],
    [
      '{"type":"publish","data":{"id":1724442618569203714, "a" : [ 0.10 ]\n}}',
      '{"id":1724442618569203714, "a" : [ 0.10 ]\n}',
    ],
    ['{"data":"\\u00e9\\/"}', '"\\u00e9\\/"'],
    ['{"data":1,"data":2}', '2'],
    ['{"data":1,"d\\u0061ta":3}', '3'],
    ['{"x":{"data":1}}', undefined],
    ['{"x":"\\"data\\":1","y":["data",{"data":2}]}', undefined],
    ['{"data":"}","z":"\\\\"}', '"}"'],
    ['{"data":"\\\\\\""}', '"\\\\\\""'],
    [' \n{ }', undefined],
    ['{"data":{"a":1,"a":2,"__proto__":{"b":3}}}', '{"a":1,"a":2,"__proto__":{"b":3}}'],
  ];
  for (const [text, data] of cases) assert.equal(textOfField(text, 'data'), data, text);
});

test('the elements of an array are cut as they stand, whatever is in them', () => {
  for (const [text, elements] of [
    ['[]', []],
    [' [ ] ', []],
    ['[1.0]', ['1.0']],
    [
      '[ 12345678901234567890 ,\t"a,]\\"[" , {"b":[1,{}]} ,[[],[2]] , null\n]',
      ['12345678901234567890', '"a,]\\"["', '{"b":[1,{}]}', '[[],[2]]', 'null'],
    ],
  ] as const) {
    assert.deepEqual(textsOfElements(text), elements);
    assert.deepEqual(
      textsOfElements(text).map((one) => JSON.parse(one)),
      JSON.parse(text),
    );
  }
});
