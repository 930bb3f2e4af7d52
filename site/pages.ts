/** Which files of the repository are pages of the site, where they are there, and in which order. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const repository = fileURLToPath(new URL('..', import.meta.url));

/** The path of a page, from the path of its file: `docs/tutorial.zh-CN.md` is `zh/tutorial.md`. */
export function pageOf(file: string): string {
  const chinese = file.endsWith('.zh-CN.md');
  const name = file
    .replace(/^(docs|site)\//, '')
    .replace(/(\.zh-CN)?\.md$/, '')
    .replace(/^README$/, 'index')
    .replace(/^[A-Z]+$/, (word) => word.toLowerCase());
  return `${chinese ? 'zh/' : ''}${name}.md`;
}

const root = ['README', 'ARCHITECTURE', 'CONTRIBUTING', 'CHANGELOG'];
/** Where the source of a page is: at the root, or in docs/. */
const fileOf = (name: string, suffix = ''): string =>
  root.includes(name) ? `${name}${suffix}.md` : `docs/${name}${suffix}.md`;

export const isThere = (file: string): boolean => existsSync(`${repository}${file}`);
export const hasChinese = (name: string): boolean => isThere(fileOf(name, '.zh-CN'));

/** The bar at the side: a heading of each language, and pages under it, each with its name in each language. */
const groups: [string, string, [string, string, string][]][] = [
  [
    'Begin',
    '开始',
    [
      ['README', 'tidings', 'tidings'],
      ['tutorial', 'Tutorial', '教程'],
      ['recipes', 'Recipes', '常见做法'],
      ['troubleshooting', 'Troubleshooting', '故障排除'],
    ],
  ],
  [
    'Write',
    '编写',
    [
      ['client', 'The page’s client', '页面客户端'],
      ['bell', 'The bell', '铃铛'],
      ['inbox', 'The inbox', '收件箱'],
      ['sending', 'Sending', '发送'],
      ['tabs', 'Many tabs', '多个标签页'],
      ['presence', 'Who is online', '谁在线'],
      ['authentication', 'Who is it?', '身份验证'],
      ['endings', 'Until when?', '会话的结束'],
      ['spring', 'Beside Spring', '与 Spring 一起使用'],
      ['languages', 'Other languages', '其他语言'],
      ['bundling', 'Bundling a server', '打包服务器'],
      ['ws-compatibility', 'In place of ws', '代替 ws'],
      ['sockjs', 'SockJS', 'SockJS'],
      ['legacy-browsers', 'Old browsers', '旧浏览器'],
    ],
  ],
  [
    'Run',
    '运行',
    [
      ['configuration', 'Configuration', '配置'],
      ['cli', 'The command line', '命令行'],
      ['deploy', 'Deployment', '部署'],
      ['http2', 'HTTP/2', 'HTTP/2'],
      ['postgres', 'PostgreSQL', 'PostgreSQL'],
      ['redis', 'Redis', 'Redis'],
      ['sources', 'Sources', '消息来源'],
      ['metrics', 'Metrics', '指标'],
      ['logs', 'Logs', '日志'],
      ['tracing', 'Tracing', '链路追踪'],
      ['admin', 'Administration', '管理'],
      ['workers', 'Workers', '多进程'],
      ['upgrading', 'Upgrading', '升级'],
    ],
  ],
  [
    'Know',
    '深入',
    [
      ['guarantees', 'Guarantees', '保证'],
      ['prove', 'Proving a server', '验证推送服务器'],
      ['wire', 'The wire', '通信协议'],
      ['performance', 'Performance', '性能'],
      ['conformance', 'Conformance', '协议一致性'],
      ['ARCHITECTURE', 'Architecture', '架构'],
      ['CONTRIBUTING', 'Contributing', '参与开发'],
      ['CHANGELOG', 'Changes', '变更'],
    ],
  ],
];

/** What package.json exports, as the reference has it. The one with a slash has pages of its own below it. */
const modules = [
  '',
  '/ws/',
  '/protocol',
  '/redis',
  '/policy',
  '/page-scripts',
  '/client',
  '/client/core',
  '/bell',
].map((name) => `tidings${name}`);

/** Pages of docs/ that the bar names. */
export const listed = groups.flatMap(([, , pages]) => pages.map(([name]) => fileOf(name)));

export function sidebar(
  isChinese: boolean,
): { text: string; collapsed?: boolean; items: { text: string; link: string }[] }[] {
  const linkOf = (name: string): string => {
    const file = isChinese && hasChinese(name) ? fileOf(name, '.zh-CN') : fileOf(name);
    return `/${pageOf(file)}`.replace(/(index)?\.md$/, '');
  };
  const of = (name: string, text: string) => ({
    text: isChinese && !hasChinese(name) ? `${text} (EN)` : text,
    link: linkOf(name),
  });
  const bar = groups.map(([english, chinese, pages]) => ({
    text: isChinese ? chinese : english,
    items: pages
      .filter(([name]) => isThere(fileOf(name)))
      .map(([name, text, inChinese]) => of(name, isChinese ? inChinese : text)),
  }));
  return [
    ...bar,
    {
      text: isChinese ? 'API 参考 (EN)' : 'API reference',
      items: modules.map((name) => ({ text: name.replace(/\/$/, ''), link: `/reference/${name}` })),
    },
  ];
}
