/** The site: README and docs/ as they are, in English and Chinese, and the reference that TypeDoc makes. */
import { cpSync, existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative } from 'node:path';
import type { StateCore } from 'markdown-it/index.js';
import { defineConfig } from 'vitepress';
import { hasChinese, pageOf, repository, sidebar } from '../pages.ts';
import { slug } from '../slug.ts';
import { isStale, translations } from '../translated.ts';

/** Files that pages refer to and that are no pages, such as the examples: they are copied. */
const referred = new Set<string>();
const outDir = join(repository, 'site/dist');

/** A link between files becomes one between pages. What leads nowhere stays as it is, and fails the build. */
function linkOfSite(href: string, from: string): string {
  if (/^([a-z]+:|#|\/)/i.test(href)) return href;
  const [path = '', ...anchor] = href.split('#');
  const target = posix.join(posix.dirname(from), decodeURI(path)).replace(/\/$/, '');
  if (target.startsWith('..') || !existsSync(join(repository, target))) return href;
  if (target.endsWith('.md')) return [`/${pageOf(target)}`, ...anchor].join('#');
  referred.add(target);
  return `/files/${target}`;
}

export default defineConfig({
  title: 'tidings',
  description: 'A push server for Node',
  srcDir: '..',
  srcExclude: ['!(docs|site)/**/*.md', 'site/!(reference)/**/*.md', 'docs/*/**'],
  rewrites: pageOf,
  outDir,
  cacheDir: join(repository, 'site/cache'),
  cleanUrls: false,
  vite: { build: { chunkSizeWarningLimit: 2000 } },
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  markdown: {
    anchor: { slugify: slug },
    languageAlias: { haproxy: 'nginx', caddyfile: 'nginx' },
    config(md) {
      md.core.ruler.push('links of the repository', (state) => {
        const { path, realPath = path } = state.env as { path?: string; realPath?: string };
        if (realPath === undefined) return;
        const from = relative(repository, realPath);
        if (from.endsWith('.zh-CN.md') && isStale(from)) sayStale(state);
        for (const block of state.tokens) {
          if (block.type === 'html_block') block.content = withImages(block.content);
          for (const token of block.children ?? []) {
            if (token.type === 'html_inline') token.content = withImages(token.content);
            if (token.type !== 'link_open') continue;
            const href = linkOfSite(token.attrGet('href') ?? '', from);
            token.attrSet('href', href);
            if (href.startsWith('/files/')) token.attrSet('target', '_self');
          }
        }
      });
    },
  },
  locales: {
    root: { label: 'English', lang: 'en' },
    zh: {
      label: '中文',
      lang: 'zh-CN',
      description: 'Node 的推送服务器',
      themeConfig: {
        nav: [
          { text: '教程', link: '/zh/tutorial' },
          { text: '配置', link: hasChinese('configuration') ? '/zh/configuration' : '/configuration' },
          { text: 'API', link: '/reference/' },
        ],
        sidebar: sidebar(true),
        outline: { level: [2, 3], label: '本页内容' },
        docFooter: { prev: '上一页', next: '下一页' },
        langMenuLabel: '语言',
        returnToTopLabel: '回到顶部',
        sidebarMenuLabel: '目录',
        darkModeSwitchLabel: '外观',
        notFound: { title: '没有这一页', quote: '', linkLabel: '回到首页', linkText: '首页' },
      },
    },
  },
  themeConfig: {
    nav: [
      { text: 'Tutorial', link: '/tutorial' },
      { text: 'Configuration', link: '/configuration' },
      { text: 'API', link: '/reference/' },
    ],
    sidebar: sidebar(false),
    outline: { level: [2, 3] },
    // The other language's page where there is one, else its first page. It runs in the browser: it may use nothing from here.
    i18nRouting: (data, route, locale) => {
      const page = route.data.relativePath.replace(/^zh\//, '');
      const name = page.replace(/(index)?\.md$/, (_, index) => (index ? '' : '.html'));
      if (locale !== 'zh') return `/${name}`;
      return data.theme.value.chinese.includes(page) ? `/zh/${name}` : '/zh/';
    },
    chinese: translations().map((file) => pageOf(file).replace(/^zh\//, '')),
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          options: {
            // Chinese has no spaces between words: each character is looked for by itself.
            tokenize: (text) => text.toLowerCase().match(/\p{Script=Han}|[\p{L}\p{N}_]+/gu) ?? [],
          },
          searchOptions: { combineWith: 'AND', prefix: true, fuzzy: false },
        },
        locales: {
          zh: {
            translations: {
              button: { buttonText: '搜索', buttonAriaLabel: '搜索' },
              modal: {
                displayDetails: '显示详情',
                resetButtonTitle: '清除',
                backButtonTitle: '关闭',
                noResultsText: '没有结果：',
                footer: { selectText: '选择', navigateText: '切换', closeText: '关闭' },
              },
            },
          },
        },
      },
    },
  },
  buildEnd() {
    for (const path of referred) {
      const target = join(outDir, 'files', path);
      mkdirSync(dirname(target), { recursive: true });
      cpSync(join(repository, path), target, {
        recursive: true,
        filter: (file) => !file.includes('node_modules'),
      });
      if (!statSync(target).isDirectory()) continue;
      const links = readdirSync(target).map((name) => `<li><a href="/files/${path}/${name}">${name}</a>`);
      writeFileSync(
        join(target, 'index.html'),
        `<!doctype html><title>${path}</title><ul>${links.join('')}</ul>`,
      );
    }
  },
});

/** An image of HTML, beside its page, is looked for there only if it says so. */
function withImages(html: string): string {
  return html.replace(/src="(?!\.|\/|[a-z]+:)/g, 'src="./');
}

/** Below its heading a page says that the English one has gone on. */
function sayStale(state: StateCore): void {
  const token = new state.Token('html_block', '', 0);
  token.content = '<p class="vp-stale"><em>英文版在此之后有修改。</em></p>';
  const heading = state.tokens.findIndex(({ type }) => type === 'heading_close');
  state.tokens.splice(heading + 1, 0, token);
}
