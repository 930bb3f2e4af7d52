/** A kind of sources: which URLs are its, which settings it has, and how a driver is made of them. */
import type { SourceDriver } from './driver.ts';

/** What a setting is: `text` has at least a character. */
export type SettingType = 'text' | 'number' | 'flag';

export interface SourceKind {
  /** Of URLs, without the colon. */
  readonly schemes: readonly string[];
  /** Its settings by name, and what they are: in a URL's query all are text, and have names-like-this. */
  readonly settings: Readonly<Record<string, SettingType>>;
  /**
   * @param url without what was in its query of these settings, and of those of all sources
   * @param settings those that were given, each of its type
   * @throws {TypeError} or {RangeError} for settings that make no sense. Loads nothing, connects to nothing
   */
  make(url: string, settings: Readonly<Record<string, unknown>>): SourceDriver;
}
