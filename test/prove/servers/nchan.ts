/** nginx with nchan, as its documentation has it: a channel for each user, with the last messages in memory. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { find } from '../../support/programs.ts';

/** The command that runs it in the foreground. @param keeps messages of each channel */
export function nchanCommand(folder: string, port: number, keeps: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${folder}/${kind};`,
  );
  writeFileSync(
    join(folder, 'nginx.conf'),
    `load_module ${find('nchan')}; ${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off; ${temporary.join(' ')}
  server {
    listen 127.0.0.1:${port};
    location ~ ^/sub/(.+)$ { nchan_subscriber eventsource; nchan_channel_id $1; nchan_subscriber_first_message newest; }
    location ~ ^/pub/(.+)$ {
      nchan_publisher http; nchan_channel_id $1;
      nchan_message_buffer_length ${keeps}; nchan_message_timeout 1h;
    }
  }
}
`,
  );
  return `${find('nginx')} -p ${folder} -e ${folder}/error.log -c ${folder}/nginx.conf`;
}
