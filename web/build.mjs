// Bundles src/ into dist/, which the Go package embeds:
//
//   dist/index.html           a Go template that names the files below
//   dist/assets/NAME-HASH.*   the hash is of the content, so they may be cached for ever
//   dist/licenses.txt         of what is in the bundle
//
// The output depends on package-lock.json and src/ alone. `--check` builds to
// memory and compares with dist/.

import * as esbuild from 'esbuild';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(root, 'dist');

const bundle = await esbuild.build({
  absWorkingDir: root,
  entryPoints: ['src/main.jsx'],
  outdir: 'dist/assets',
  bundle: true,
  minify: true,
  format: 'iife',
  target: ['es2022'],
  jsx: 'automatic',
  charset: 'utf8',
  legalComments: 'none', // they are in licenses.txt
  define: { 'process.env.NODE_ENV': '"production"' },
  plugins: [{ name: 'without-fonts', setup: withoutFonts }],
  metafile: true,
  write: false,
  logLevel: 'warning',
});

const files = new Map(); // path below dist/ → content
const names = {
  JS: add('console', '.js', output('.js')),
  CSS: add('console', '.css', output('.css')),
  ICON: add('icon', '.svg', fs.readFileSync(path.join(root, 'src/icon.svg'))),
};
files.set(
  'index.html',
  Buffer.from(
    fs
      .readFileSync(path.join(root, 'src/index.html'), 'utf8')
      .replace(/assets\/(JS|CSS|ICON)/g, (_, key) => names[key]),
  ),
);
files.set('licenses.txt', Buffer.from(licenses(Object.keys(bundle.metafile.inputs))));

if (process.argv.includes('--check')) {
  check();
} else {
  write();
}

function output(ext) {
  return Buffer.from(bundle.outputFiles.find(file => file.path.endsWith(ext)).contents);
}

function add(name, ext, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 12);
  const file = `assets/${name}-${hash}${ext}`;
  files.set(file, content);
  return file;
}

// GraphiQL's stylesheet holds two font families as data: URLs, three quarters of its size.
function withoutFonts(build) {
  build.onLoad({ filter: /graphiql[\\/]dist[\\/]style\.css$/ }, args => ({
    contents: fs.readFileSync(args.path, 'utf8').replace(/@font-face\s*\{[^}]*\}/g, ''),
    loader: 'css',
  }));
}

// One entry for each npm package with a file in the bundle.
function licenses(inputs) {
  const packages = new Map();
  for (const input of inputs) {
    const match = input.match(/^(.*node_modules\/((?:@[^/]+\/)?[^/]+))\//);
    if (match) packages.set(match[1], match[2]);
  }
  const entries = [...packages].map(([dir, name]) => {
    const { version, license } = JSON.parse(fs.readFileSync(path.join(root, dir, 'package.json')));
    const file = fs
      .readdirSync(path.join(root, dir))
      .sort()
      .find(file => /^licen[sc]e/i.test(file));
    const text = file ? fs.readFileSync(path.join(root, dir, file), 'utf8').trim() : `License: ${license}`;
    return `${name} ${version} (${license})\n\n${text.replace(/\r\n/g, '\n')}\n`;
  });
  return [...new Set(entries)].sort().join(`\n${'-'.repeat(72)}\n\n`);
}

function write() {
  fs.rmSync(dist, { recursive: true, force: true });
  for (const [file, content] of files) {
    fs.mkdirSync(path.dirname(path.join(dist, file)), { recursive: true });
    fs.writeFileSync(path.join(dist, file), content);
    console.log(`${String(content.length).padStart(9)}  dist/${file}`);
  }
}

function check() {
  const there = fs.existsSync(dist)
    ? fs
        .readdirSync(dist, { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile())
        .map(entry => path.relative(dist, path.join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/'))
    : [];
  const wrong = [
    ...there.filter(file => !files.has(file)).map(file => `dist/${file} should not be there`),
    ...[...files]
      .filter(([file, content]) => !there.includes(file) || !fs.readFileSync(path.join(dist, file)).equals(content))
      .map(([file]) => `dist/${file} is missing or differs`),
  ];
  if (wrong.length > 0) {
    console.error(`${wrong.join('\n')}\nweb/dist is not what web/src says: run \`make web\` and commit the result`);
    process.exit(1);
  }
  console.log('web/dist is what web/src says');
}
