// Times in the reader's own zone. Pages say them in UTC without this.
const near = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export function localTimes(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) {
      time.title = time.textContent;
      time.textContent = near.format(at);
    }
  }
}

localTimes(document);

// Hits as they are stored, above those that the page has. The source is closed while nobody looks,
// and goes on where it was.
const list = document.querySelector('[data-live] tbody');
const state = document.querySelector('[data-state]');
const MOST_ROWS = 200;

function live(address) {
  const words = state.querySelector('span');
  const button = state.querySelector('button');
  let paused = false;
  let source;
  let last;

  function tell(text) {
    words.textContent = text;
  }

  function open() {
    if (source || paused || document.hidden) return;
    const from = new URL(address, location);
    if (last) from.searchParams.set('after', last);
    source = new EventSource(from);
    source.onopen = () => tell('Live: new hits appear at the top.');
    source.onerror = () => {
      tell('The server does not answer; trying again.');
      // Refused: the browser does not try again by itself.
      if (source.readyState === EventSource.CLOSED) {
        source = undefined;
        setTimeout(open, 5000);
      }
    };
    source.onmessage = (event) => {
      last = event.lastEventId;
      const rows = document.createElement('template');
      // The server has escaped every text in it, and the page's policy runs nothing.
      rows.innerHTML = event.data;
      localTimes(rows.content);
      for (const row of rows.content.querySelectorAll('tr')) row.classList.add('fresh');
      list.prepend(rows.content);
      while (list.rows.length > MOST_ROWS) list.lastElementChild.remove();
    };
  }

  function close() {
    if (source) source.close();
    source = undefined;
  }

  button.addEventListener('click', () => {
    paused = !paused;
    button.textContent = paused ? 'Go on' : 'Pause';
    if (paused) {
      close();
      tell('Paused.');
    } else {
      open();
    }
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
  addEventListener('pagehide', close);
  state.hidden = false;
  open();
}

if (list && state) live(list.closest('[data-live]').dataset.live);
