// Sillage page script, with the words of Mautic's mtc.js. Each hit reaches onload or onerror once. Where its POST fails
// an image follows with the same idempotency_key: the server drops the double.
(function (w, d, n, l) {
  'use strict';
  // The server writes its own paths here.
  var EVENT = '__EVENT_PATH__', PIXEL = '__PIXEL_PATH__', ID = '__ID_PATH__';
  var LIMIT = 5000; // ms for the POST, then for the image
  var DEVICE = 'mautic_device_id';

  // A second copy only hands its queue to the first.
  var J = w.MauticJS = w.MauticJS || {};
  if (J.adopt) return J.adopt();

  var src = (d.currentScript || scripts(function (s) { return /\/mtc\.js/.test(s.src); })[0] || 0).src || l.href;
  // Where Mautic was: a host that hands on only what lies below its path has us there.
  var base = src.replace(EVENT.indexOf('/mtc/') ? /^([^/]*\/\/[^/]*).*/ :
    /^([^/]*\/\/[^/]*(?:(?:\/+(?:mautic|index(?:_dev)?\.php))+(?=\/+[^/]+\.js))?).*/, '$1');
  var waiting = [], before = [], after = [], from = d.referrer, busy = 0, count = 0, spared = 0;
  var calls = [], leaving, delivered, known, memory, last, seen, token, found;

  function scripts(test) {
    return [].filter.call(d.scripts, test);
  }

  function encode(v) {
    var s = '';
    try {
      s = String(v);
      if (s == '[object Object]') s = JSON.stringify(v);
      return encodeURIComponent(s);
    } catch (e) { // half an emoji, in a title that was cut
      return encodeURIComponent(s.replace(/[\uD800-\uDFFF]/g, ''));
    }
  }

  // A page drops an automatic value with null.
  function serialize(o) {
    return typeof o == 'string' ? o : Object.keys(o || {}).map(function (k) {
      return o[k] == null ? '' : '&' + encode(k) + '=' + encode(o[k]);
    }).join('').slice(1);
  }

  function parse(s) {
    try { return JSON.parse(s); } catch (e) { return s; }
  }

  function log() {
    if (w.console) console.log([].slice.call(arguments));
  }

  // The page's functions may throw; the queue goes on.
  function attempt(f, arg) {
    try { if (f) f(arg); } catch (e) { log(e); }
  }

  function drain(functions, arg) {
    functions.splice(0).forEach(function (f) { attempt(f, arg); });
  }

  function dispatch(name, detail) {
    var e = d.createEvent('CustomEvent');
    e.initCustomEvent(name, false, false, detail);
    d.dispatchEvent(e);
  }

  function setCookie(name, value, seconds) {
    d.cookie = name + '=' + value + '; path=/; SameSite=Lax' + (seconds ? '; max-age=' + seconds : '') +
      (l.protocol == 'https:' ? '; Secure' : '');
  }

  // On the site's own domain, as third-party cookies get dropped. Sandboxes refuse both.
  function keep(name, value, seconds) {
    try { setCookie(name, value, seconds); } catch (e) {}
    try { localStorage.setItem(name, value); } catch (e) {}
  }

  function device() {
    try { return localStorage.getItem(DEVICE) || memory; } catch (e) { return memory; }
  }

  function setTracked(r) {
    if (!(r || 0).id) return;
    known = 1;
    keep('mtc_id', r.id);
    memory = r.device_id;
    if (memory) keep(DEVICE, memory, 31536000);
  }

  function append(params) {
    params[DEVICE] = params[DEVICE] || device();
    return params;
  }

  function getTracked() {
    if (!known) request('GET', base + ID, '', setTracked);
  }

  // No header of our own: it would cost a CORS preflight.
  function open(method, url) {
    var x = new XMLHttpRequest();
    x.open(method, url, true);
    x.withCredentials = true;
    return x;
  }

  function request(method, url, data, ok, fail) {
    var get = /get/i.test(method), body = serialize(data), x = open(method, get && body ? url + '?' + body : url);
    x.onload = x.onerror = function () {
      var f = x.status == 200 ? ok : fail;
      if (f) f(parse(x.responseText), x);
    };
    if (!get) x.setRequestHeader('Content-Type', 'application/x-www-form-urlencoded');
    x.send(body);
  }

  function deliver(h) {
    var detail = h.detail, params = detail.params, timer = setTimeout(pixel, LIMIT), image, body;
    busy++;
    drain(before, params);
    // Only now: the answer before this hit may have brought it.
    body = serialize(append(params));
    try {
      if (w.fetch) {
        fetch(base + EVENT, {
          method: 'POST',
          body: body,
          credentials: 'include',
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
          keepalive: body.length < 6e4 // browsers refuse more than 64 KB
        }).then(function (a) {
          return a.status == 200 ? a.text() : '';
        }).then(function (s) { posted(parse(s)); }, pixel);
      } else request('POST', base + EVENT, body, posted, pixel);
    } catch (e) { pixel(); }

    function posted(r) {
      if ((r || 0).success) finish('onload', 'response', r);
      else pixel();
    }

    function pixel() {
      if (image || h.how) return;
      clearTimeout(timer);
      image = new Image();
      image.onload = function () { finish('onload', 'image', true); };
      image.onerror = function () { finish('onerror'); };
      timer = setTimeout(image.onerror, LIMIT);
      image.src = base + PIXEL + '?' + body;
    }

    function finish(how, key, value) {
      if (h.how) return;
      clearTimeout(timer);
      h.how = how;
      if (key) {
        detail[key] = value;
        attempt(detail.image ? getTracked : setTracked, value);
        delivered = detail;
        drain(after, detail);
        dispatch('mauticPageEventDelivered', detail);
      }
      h.callbacks.forEach(function (c) { tell(h, c); });
      busy--;
      pump();
    }
  }

  function tell(h, callbacks) {
    attempt((callbacks || 0)[h.how], h.detail);
  }

  // One at a time: a hit needs the cookies of the one before. On leaving, all at once.
  function pump() {
    while (waiting[0] && (leaving || !busy)) deliver(waiting.shift());
  }

  // Takes out the landing token; every other character stays.
  function clean(url) {
    return url.replace(/^([^?#]*\?(?:[^#]*&)?)_sl=([^&#]*)(&?)/, function (all, head, value, and) {
      found = value;
      return and ? head : head.slice(0, -1);
    });
  }

  // The token names a person: it must not be copied from the address bar.
  function here() {
    var url = clean(l.href);
    if (url != l.href) {
      token = found;
      try { history.replaceState(history.state, '', url); } catch (e) {}
    }
    return url;
  }

  function random() {
    return Math.random().toString(36).slice(2);
  }

  // Everything as it is at the moment of the call.
  function hit(call) {
    var view = call[1] == 'pageview', given = typeof call[2] == 'object' && call[2] || {}, callbacks = call[3];
    var url, key, h, params, lang = n.language || '';
    if (call[0] != 'send' || !view && (call[1] != 'event' || !given.event)) return;

    url = here();
    if (url != last) {
      from = last || from; // in a single-page app document.referrer goes stale
      last = url;
      seen = {};
    }

    // Two snippets make each call twice: a repeat is spared for each surplus script.
    key = ' ' + serialize(given);
    h = view && seen[key];
    if (h && spared < scripts(function (s) { return s.src == src; }).length - 1) {
      spared++;
      return h.how ? tell(h, callbacks) : h.callbacks.push(callbacks);
    }

    params = {
      page_title: d.title,
      page_language: d.documentElement.lang || lang,
      preferred_locale: lang.replace('-', '_'),
      page_referrer: from,
      page_url: url,
      counter: ++count,
      timezone_offset: new Date().getTimezoneOffset(),
      timezone: w.Intl && Intl.DateTimeFormat().resolvedOptions().timeZone,
      resolution: screen.width + 'x' + screen.height,
      platform: n.platform,
      do_not_track: n.doNotTrack == 1,
      adblock: false,
      idempotency_key: Date.now().toString(36) + random() + random(),
      _sl: token
    };
    Object.keys(given).forEach(function (k) { params[k] = given[k]; });
    if (params.page_url) params.page_url = clean(String(params.page_url));

    h = { detail: { event: call, params: params }, callbacks: [callbacks] };
    if (view) seen[key] = h;
    waiting.push(h);
    pump();
  }

  function play(call) {
    calls.push(call);
    attempt(hit, call);
  }

  function live() {
    play(arguments);
    dispatch('eventAddedToMauticQueue', arguments);
  }

  // For pages that go on filling the loader's queue.
  live.q = { push: function (call) { live.apply(w, call); } };

  function begin() {
    var name = w.MauticTrackingObject || 'mt', old = w[name] || 0;
    // A page rendered ahead may never be seen.
    if (d.prerendering) return d.addEventListener('prerenderingchange', begin);
    // A cached script can run before <title> is parsed.
    if (!d.title && d.readyState == 'loading') return J.documentReady(begin);
    if (old == live) return;
    w[name] = live;
    [].forEach.call(old.q || [], play);
  }

  J.adopt = begin;
  J.runtimeReady = true;
  w.MauticDomain = w.MauticDomain || base;
  w.MauticLang = w.MauticLang || {};
  J.dispatchEvent = dispatch;
  J.appendTrackedContact = append;
  J.getInput = function (task, type) {
    return calls.filter(function (call) { return call[0] == task && call[1] == type; });
  };
  J.ensureEventContext = function (e, task, type) {
    return e.detail[0] == task && e.detail[1] == type;
  };
  J.guid = function () {
    return 'xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx'.replace(/x/g, function () {
      return (Math.random() * 16 | 0).toString(16);
    });
  };
  J.insertStyle = function (url) {
    var link = d.createElement('link');
    link.rel = 'stylesheet';
    d.head.appendChild(link).href = url;
  };
  J.serialize = serialize;
  J.parseTextToJSON = parse;
  J.log = log;
  J.setCookie = setCookie;
  J.createCORSRequest = open;
  J.makeCORSRequest = request;
  J.getTrackedContact = getTracked;
  J.setTrackedContact = setTracked;
  J.documentReady = function (f) {
    if (d.readyState == 'loading') d.addEventListener('DOMContentLoaded', function () { f(); });
    else f();
  };
  J.iterateCollection = function (items) {
    return function (f) { [].forEach.call(items, f); };
  };
  J.insertScript = function (url) {
    d.head.appendChild(d.createElement('script')).src = url;
  };
  J.beforeFirstEventDelivery = function (f) { before.push(f); };
  J.onFirstEventDelivery = function (f) {
    if (delivered) attempt(f, delivered);
    else after.push(f);
  };
  J.sendPageview = function (call) { attempt(hit, call || ['send', 'pageview']); };

  w.addEventListener('pagehide', function () { leaving = 1; pump(); });
  w.addEventListener('pageshow', function () { leaving = 0; });
  here();
  begin();
})(window, document, navigator, location);
