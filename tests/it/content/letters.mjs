// Mails of the public, rendered as their makers render them: told as JSON, [{name, html}].
// Run where npm has installed mjml, mailgen and foundation-emails.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const of = (name) => require(name).default ?? require(name);
const letters = [];

// The examples in the documentation of each of MJML's components.
const mjml = of('mjml');
const packages = readdirSync('node_modules').filter((name) => name.startsWith('mjml')).sort();
for (const name of packages) {
  const page = `node_modules/${name}/README.md`;
  const text = existsSync(page) ? readFileSync(page, 'utf8') : '';
  for (const source of text.match(/<mjml>[\s\S]*?<\/mjml>/g) ?? []) {
    const { html } = await mjml(source, { validationLevel: 'soft' });
    letters.push({ name, html });
  }
}

// Foundation's templates. Their links lead to "#": they are given pages, with what pages have.
const pages = ['lamps', 'a?b=1&amp;c=2', 'd?e[]=%20f#g', 'h?utm_source=x&utm_medium=y', 'straße?q=ä'];
const templates = 'node_modules/foundation-emails/.download/templates';
for (const file of readdirSync(templates).sort()) {
  let count = 0;
  const html = readFileSync(`${templates}/${file}`, 'utf8').replaceAll(
    'href="#"',
    () => `href="https://www.example.com/${pages[count++ % pages.length]}"`,
  );
  letters.push({ name: `foundation ${file}`, html });
}

// Mailgen's themes.
const Mailgen = of('mailgen');
const button = { color: '#22BC66', text: 'Go', link: 'https://www.example.com/go?a=1&b=2' };
for (const theme of ['default', 'neopolitan', 'salted', 'cerberus']) {
  const maker = new Mailgen({ theme, product: { name: 'Shop', link: 'https://www.example.com/' } });
  const html = await maker.generate({
    body: { name: 'Ada', intro: 'Welcome.', action: { instructions: 'Go:', button } },
  });
  letters.push({ name: `mailgen ${theme}`, html });
}

process.stdout.write(JSON.stringify(letters));
