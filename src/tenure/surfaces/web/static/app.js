/* Keeps a page fresh. Every page can be read and used without it. */
(() => {
  'use strict';
  const GAP = 400; // at least so many ms between two looks, however much happens
  const POLL = 5000; // how often to look while there is no stream
  const SILENCE = 12000; // a stream says something every 5 s: without that, it is none any more
  const PATIENCE = 15000; // how long an answer may take
  const STREAMS = 3; // of all tabs of a browser together
  const IDLE = 30000; // how often to look anyway: relative times grow old
  const root = document.documentElement;
  root.classList.add('js');

  const by = (id) => document.getElementById(id);
  let streaming = false;
  let looking = false;
  let again = false;
  let last = Date.now();
  let timer = 0;
  let source = null; // the stream
  let free = null; // gives its place back
  let connecting = false;
  let next = 0; // when to try again to have one
  let heard = 0; // when it last said something

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
    wanted();
    connect();
    setInterval(() => {
      if (document.hidden) return;
      if (source && Date.now() - heard > (streaming ? SILENCE : PATIENCE)) silent();
      if (!source && Date.now() >= next) connect();
      const live = by('live');
      const idle = live && live.dataset.every ? live.dataset.every * 1000 : IDLE;
      if (Date.now() - last >= (streaming ? idle : Math.min(idle, POLL))) look();
    }, 1000);
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) return disconnect();
      connect();
      soon();
    });
    addEventListener('pagehide', disconnect);
    addEventListener('pageshow', (event) => event.persisted && connect());
  }

  /* A browser keeps six connections to a server, for all its tabs together. A hidden page that no user
     sees keeps none, and of those that are seen at most STREAMS keep one: the others poll. */
  function slot(number = 1) {
    if (!navigator.locks) return Promise.resolve(() => {});
    if (number > STREAMS) return Promise.resolve(null);
    return new Promise((got) => {
      navigator.locks.request(`tenure-stream-${number}`, { ifAvailable: true }, (lock) => (
        lock ? new Promise((release) => { got(release); }) : got(null)
      ));
    }).then((release) => release || slot(number + 1));
  }

  async function connect() {
    const place = by('stream');
    if (!place || source || connecting || document.hidden) return;
    connecting = true;
    free = await slot();
    connecting = false;
    next = Date.now() + POLL;
    if (!free) return;
    if (document.hidden) disconnect();
    else hear(new EventSource(place.dataset.connect));
  }

  function disconnect() {
    if (source) source.close();
    if (free) free();
    source = free = null;
    streaming = false;
  }

  /* The server does not answer, or the connection ended silently (a laptop slept). */
  function silent() {
    disconnect();
    link('lost');
    soon();
    connect();
  }

  function hear(opened) {
    source = opened;
    heard = Date.now();
    opened.onopen = () => {
      streaming = true;
      heard = Date.now();
      link('live');
    };
    opened.onerror = () => {
      if (streaming) soon(); // shows at once whether the server is alive
      streaming = false;
      if (opened.readyState === EventSource.CLOSED && source === opened) disconnect();
    };
    const on = (name, act) => opened.addEventListener(name, (event) => {
      heard = Date.now();
      act(event);
    });
    on('changed', (event) => concerns(event.data) && soon());
    on('owner', soon);
    on('reload', soon);
    on('beat', () => {});
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
    if (source && ['live', 'ownerbar'].includes(source.id)) link('lost');
  });
  document.addEventListener('htmx:after:swap', () => tail());

  /* -- a run's output, as it is written: from where the page's own text ends -- */
  const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
  const UNFINISHED = /(?:\r|\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,1000}\x1b?)?)$/;
  const clean = (text) => text.replace(ESCAPES, '').replace(/\r\n?/g, '\n')
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
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
      if (over || document.hidden || !place.isConnected) return;
      if (source) source.close();
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
    const close = () => source && source.close();
    addEventListener('pagehide', close);
    addEventListener('pageshow', (event) => event.persisted && open());
    document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()));
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
