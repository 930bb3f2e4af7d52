/** One connection for all tabs, by code that only pages fetch that want it. */
import { load } from './load.ts';
import type { ConnectOptions } from './options.ts';
import type { ClientTools } from './share/client-tools.ts';
import type { Talk } from './talk.ts';
import type { Transport, TransportFactory } from './transport.ts';

/** `dial`, shared with other tabs where that is possible. */
export function shareLater(dial: TransportFactory, options: ConnectOptions): TransportFactory {
  let tab: TransportFactory | undefined;
  let tools: ClientTools;

  const share: TransportFactory = (...about) => {
    let inner: Transport | undefined;
    let isOver = false;
    const begin = async (): Promise<void> => {
      tab ??= (await load())(dial, options, tools);
      if (!isOver) inner = tab(...about);
    };
    if (tab) inner = tab(...about);
    else begin().catch(() => tools[4]());
    return {
      send: (text) => inner?.send(text),
      close(code, reason) {
        isOver = true;
        inner?.close(code, reason);
      },
      get isScarce() {
        return inner?.isScarce;
      },
    };
  };

  share.lazily = (talk) => {
    const { connection, failed, add, identity } = talk as Talk;
    const { setTicket } = connection;
    const again = (): void => {
      connection.end(1000, '');
      connection.open();
    };
    tools = [
      connection.askTicket,
      (error) => {
        failed(error);
        connection.lost(1006, `${error}`);
      },
      again,
      0,
      () => {
        tab = dial;
        delete share.lazily;
        if (connection.transport()) again();
      },
      () => identity.device,
    ];
    connection.setTicket = (ticket) => {
      tools[3]++;
      setTicket(ticket);
    };
    add({ closed: () => void tools[3]++ });
  };
  return share;
}
