/** Who is on a topic: first who is there, then what changes. */
import { are, isText, isTime, listOf } from './frames.ts';
import type { Talk } from './talk.ts';

export function addPresence({ add, emit, here }: Talk): void {
  are(listOf(isText), 'users joined left');
  are(isTime, 'total');
  add({ frames: { presence: ['channel total', here((frame) => emit('presence', frame))] } });
}
