/** Messages that come from where an application's events are: queues, streams and outbox tables. */
import type { PushServer } from '../push/index.ts';
import { driverOf, type SourcePlace } from './kinds.ts';
import { checkedOptions, type SourceOptions } from './options.ts';
import { type RunningSource, Source } from './source.ts';

export { MessageError, type Sending, type SourceMessage, SourceSetupError } from './driver.ts';
export type { SourcePlace } from './kinds.ts';
export type { Mapped, SourceOptions } from './options.ts';
export type { RunningSource } from './source.ts';
export type { SourceCounts } from './source-metrics.ts';

/**
 * Takes messages from where they come from, and sends them: each is acknowledged there only once the store has it, which then
 * knows it by the id that it has there. For each user and topic the order is kept. What can't be stored now is tried again;
 * what never can goes to the dead letters of the source with its reason. Begins at once, and connects again whenever the
 * connection is lost. docs/sources.md says what each kind needs.
 *
 * @param place a URL, whose scheme says the kind, or one with settings beside it
 * @throws {TypeError} or {RangeError} for a place or options that make no sense
 */
export function source(
  push: PushServer,
  place: string | SourcePlace,
  options: SourceOptions = {},
): RunningSource {
  const { driver, options: said } = driverOf(place);
  return new Source(push, driver, checkedOptions({ ...said, ...options }));
}
