/* Keeps a page fresh. Every page can be read and used without it. */
(() => {
  'use strict';
  const GAP = 400; // at least so many ms between two looks, however much happens
  const POLL = 5000; // how often to look while there is no stream
  const SILENCE = 12000; // a stream says something every 5 s: without that, it is none any more
  const PATIENCE = 15000; // how long an answer may take
  const IDLE = 30000; // how often to look anyway: relative times grow old
  const root = document.documentElement;
  root.classList.add('js');

  const by = (id) => document.getElementById(id);
  let streaming = false;
  let looking = false;
  let again = false;
  let last = Date.now();
  let timer = 0;
  let heard = 0; // when the stream last said something

  /* What the page is about; a problem in its place (the profile is gone) is about the same. */
  let about = '';
  function wanted() {
    const live = by('live');
    about = (live && live.dataset.live) || about;
    return about || 'owner';
  }

  function link(state) {
    if (root.dataset.link !== state) root.dataset.link = state;
  }

  /* -- what changed is fetched with the whole page, and only what differs is touched -- */
  async function look() {
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    again = false;
    last = Date.now();
    const whole = wanted() !== 'owner';
    const part = whole ? '#live' : '#ownerbar';
    if (by(part.slice(1)) && !document.hidden) {
      await htmx.ajax('GET', location.pathname + location.search, {
        source: part, target: part, select: part, swap: 'outerMorph', timeout: PATIENCE,
        selectOOB: whole ? '#ownerbar:outerMorph' : null,
      }).catch(() => link('lost'));
    }
    looking = false;
    if (again) soon();
  }

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(look, Math.max(0, last + GAP - Date.now()));
  }

  function concerns(topics) {
    return String(topics || '').split(/\s+/).some((topic) => wanted().split(' ').includes(topic));
  }

  /* -- the stream, and looking now and then where there is none -- */
  function listen() {
    const stream = by('stream');
    wanted();
    if (stream) hear(stream);
    setInterval(() => {
      if (streaming && !document.hidden && Date.now() - heard > SILENCE) silent(stream);
      const live = by('live');
      const idle = live && live.dataset.every ? live.dataset.every * 1000 : IDLE;
      if (Date.now() - last >= (streaming ? idle : Math.min(idle, POLL))) look();
    }, 1000);
    document.addEventListener('visibilitychange', () => document.hidden || soon());
  }

  /* Whoever is there does not answer, or the connection ended without a word (a laptop slept). */
  function silent(stream) {
    streaming = false;
    link('lost');
    soon();
    const open = stream._htmx && stream._htmx.sse;
    if (open && open.reader) open.reader.cancel(); // a new one is made
  }

  function hear(stream) {
    for (const name of ['changed', 'owner', 'reload', 'beat']) {
      stream.addEventListener(name, () => { heard = Date.now(); });
    }
    stream.addEventListener('changed', (event) => concerns(event.detail.data) && soon());
    stream.addEventListener('owner', () => soon());
    stream.addEventListener('reload', () => soon());
    stream.addEventListener('htmx:sse:after:connection', () => {
      streaming = true;
      heard = Date.now();
      link('live');
    });
    const cut = () => {
      if (!streaming) return;
      streaming = false;
      soon(); // whether anybody is there still is told at once
    };
    for (const name of ['htmx:sse:error', 'htmx:sse:close']) stream.addEventListener(name, cut);
    stream.addEventListener('htmx:sse:before:connection', (event) => {
      if (event.detail.connection.attempt > 0) cut();
    });
  }

  /* An answer that is none (the dashboard went away, the store is blocked) replaces nothing. */
  document.addEventListener('htmx:before:swap', (event) => {
    const status = event.detail.ctx.response && event.detail.ctx.response.status;
    const ours = ['live', 'ownerbar'].includes(event.detail.ctx.sourceElement.id);
    if (ours && status === 401) {
      link('lost'); // other tokens are in force: what to do stands in the answer
    } else if (ours && (status >= 500 || status === 429)) {
      link('lost');
      event.preventDefault();
    } else if (ours) {
      link(streaming ? 'live' : 'polling');
    }
  });
  document.addEventListener('htmx:error', (event) => {
    const source = event.detail.ctx && event.detail.ctx.sourceElement;
    if (source && ['live', 'ownerbar', 'stream'].includes(source.id)) link('lost');
  });
  document.addEventListener('htmx:after:swap', () => tail());

  /* -- a run's output, as it is written: from where the page's own text ends -- */
  const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
  const UNFINISHED = /(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,1000}\x1b?)?)$/;
  const clean = (text) => text.replace(ESCAPES, '').replace(/\r\n?/g, '\n')
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, '\ufffd');
  let followed = null;
  function tail() {
    const place = document.querySelector('[data-tail]');
    if (!place || place === followed) return;
    followed = place;
    let shown = Number(place.dataset.from) || 0;
    let held = ''; // what may go on: of a line's end, of an escape
    let source = null;
    let over = false;
    const add = (more) => {
      const text = held + more;
      const cut = text.search(UNFINISHED);
      held = cut < 0 ? '' : text.slice(cut);
      const bottom = place.scrollTop + place.clientHeight > place.scrollHeight - 40;
      place.append(clean(cut < 0 ? text : text.slice(0, cut)));
      if (place.textContent.length > 400000) place.textContent = place.textContent.slice(-300000);
      if (bottom) place.scrollTop = place.scrollHeight;
      const silent = by('silent');
      if (silent) silent.hidden = true;
    };
    const done = () => {
      over = true;
      source.close();
      if (held) place.append(clean(held));
      soon();
    };
    const open = () => {
      if (over || !place.isConnected) return;
      source = new EventSource(place.dataset.tail + shown);
      source.addEventListener('output', (event) => {
        const { offset, text } = JSON.parse(event.data);
        if (offset <= shown) return;
        shown = offset;
        add(text);
      });
      source.addEventListener('attempt', done);
      source.addEventListener('end', done);
      source.addEventListener('error', () => {
        if (source.readyState !== 2 || over) return; // the browser tries again by itself
        soon();
        setTimeout(open, 2000);
      });
    };
    open();
    place.scrollTop = place.scrollHeight;
    addEventListener('pagehide', () => source.close());
    addEventListener('pageshow', (event) => event.persisted && open());
  }

  /* -- small comforts -- */
  addEventListener('submit', (event) => {
    const form = event.target;
    if (form.method !== 'post') return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = '1';
    setTimeout(() => delete form.dataset.sent, 3000);
  });
  addEventListener('click', (event) => {
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    for (const menu of document.querySelectorAll('details.menu[open]')) {
      menu.open = false;
      menu.querySelector('summary').focus();
    }
  });

  addEventListener('DOMContentLoaded', () => { listen(); tail(); });
})();
