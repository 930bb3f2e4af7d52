/**
 * A set and a map for what mostly has one member: that costs no table, which would take some hundred and eighty bytes,
 * and there are several for each open page. What is added or deleted while it is gone through is treated as in Set and Map.
 */

/** As Set. `undefined` can't be a member. */
export class SmallSet<T> {
  #one: T | undefined;
  /** Made when there is a second one. */
  #all: Set<T> | undefined;

  get size(): number {
    if (this.#all !== undefined) return this.#all.size;
    return this.#one === undefined ? 0 : 1;
  }

  /** The one member, where there is exactly one and never were more. */
  get only(): T | undefined {
    return this.#one;
  }

  has(member: T): boolean {
    return this.#all === undefined ? member === this.#one && member !== undefined : this.#all.has(member);
  }

  add(member: T): this {
    if (this.#all !== undefined) this.#all.add(member);
    else if (this.#one === undefined) this.#one = member;
    else if (this.#one !== member) {
      this.#all = new Set([this.#one, member]);
      this.#one = undefined;
    }
    return this;
  }

  delete(member: T): boolean {
    if (this.#all !== undefined) return this.#all.delete(member);
    if (member === undefined || this.#one !== member) return false;
    this.#one = undefined;
    return true;
  }

  *[Symbol.iterator](): Generator<T> {
    let last: T | undefined;
    while (this.#all === undefined) {
      const one = this.#one;
      if (one === undefined || one === last) return;
      last = one;
      yield one;
    }
    for (const member of this.#all) if (member !== last) yield member;
  }
}

/** As Map. `undefined` can't be a value. */
export class SmallMap<K, V> {
  #key: K | undefined;
  #value: V | undefined;
  /** Those besides the one that came first. */
  #others: Map<K, V> | undefined;

  get size(): number {
    return (this.#value === undefined ? 0 : 1) + (this.#others?.size ?? 0);
  }

  get(key: K): V | undefined {
    return this.#isFirst(key) ? this.#value : this.#others?.get(key);
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  set(key: K, value: V): this {
    const isFree = this.#value === undefined && (this.#others === undefined || this.#others.size === 0);
    if (isFree || this.#isFirst(key)) {
      this.#key = key;
      this.#value = value;
    } else {
      this.#others ??= new Map();
      this.#others.set(key, value);
    }
    return this;
  }

  delete(key: K): boolean {
    if (!this.#isFirst(key)) return this.#others?.delete(key) ?? false;
    this.#key = undefined;
    this.#value = undefined;
    return true;
  }

  clear(): void {
    this.#key = undefined;
    this.#value = undefined;
    this.#others = undefined;
  }

  *values(): Generator<V> {
    if (this.#value !== undefined) yield this.#value;
    if (this.#others !== undefined) yield* this.#others.values();
  }

  #isFirst(key: K): boolean {
    return this.#value !== undefined && this.#key === key;
  }
}
