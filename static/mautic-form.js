// Sillage's form script, with the words of Mautic's: what forms of a page need between a click on their button and the
// answer. A form posts into a frame of its own, and the answer's page tells this one with postMessage, so no permission
// of the server's is needed. Without this script forms work too: they lead away from the page.
(function (w, d) {
  'use strict';
  // Whichever came first, ours or Mautic's, sees to all forms.
  if (w.MauticSDK) return;

  var rules = w.MauticFormValidations = w.MauticFormValidations || {}; // by form and field, also a page's own
  var waiting = Object.create(null); // by form: what its button said

  function each(list, f) {
    [].forEach.call(list || [], f);
  }

  function find(name) {
    return d.getElementById('mauticform_' + name);
  }

  // A page's own function for an event of a form; null where it has none or leaves it to us.
  function hook(name, event, data) {
    var own = typeof MauticFormCallback == 'undefined' ? 0 : (MauticFormCallback || 0)[name];
    var result = own && typeof own[event] == 'function' ? own[event](data === undefined ? null : data) : null;
    return result === undefined ? null : result;
  }

  function within(form, selector) {
    return form.querySelector(selector);
  }

  // What an editor has left out of the markup is put in again.
  function prepare(name) {
    var form = find(name), frame = d.getElementById('mauticiframe_' + name), sign;
    if (!form) return;
    if (!form.getAttribute('onsubmit')) form.onsubmit = function (e) {
      e.preventDefault();
      validateForm(name, true);
    };
    if (!frame) {
      frame = d.createElement('iframe');
      frame.id = frame.name = 'mauticiframe_' + name;
      frame.style.display = 'none';
      frame.title = '';
      d.body.appendChild(frame);
    }
    form.target = frame.name;
    if (!frame.onload) frame.onload = function () { setTimeout(function () { lost(name); }, 100); };
    sign = d.getElementById('mauticform_' + name + '_messenger');
    if (!sign) {
      sign = d.createElement('input');
      sign.type = 'hidden';
      sign.name = 'mauticform[messenger]';
      sign.id = 'mauticform_' + name + '_messenger';
      sign.value = 1;
      form.appendChild(sign);
    }
    if (!rules[name]) {
      rules[name] = {};
      each(form.querySelectorAll('[data-validate]'), function (row) {
        var alias = row.getAttribute('data-validate');
        rules[name][alias] = {
          name: alias,
          type: row.getAttribute('data-validation-type'),
          multiple: row.getAttribute('data-validate-multiple')
        };
      });
    }
    if (!form.isPrepared) {
      form.isPrepared = true;
      prepareConditions(name, form);
      preparePages(name, form);
    }
  }

  function prepareAll() {
    each(d.querySelectorAll('form[data-mautic-form]'), function (form) {
      prepare(form.getAttribute('data-mautic-form'));
    });
  }

  // Fields that stand there only for some answers of another one.
  function prepareConditions(name, form) {
    each(form.querySelectorAll('[data-mautic-form-show-on]'), function (row) {
      var when = row.getAttribute('data-mautic-form-show-on'), at = when.indexOf(':');
      var other = rowOf(name, when.slice(0, at)), values = when.slice(at + 1).split('|');
      if (!other) return;
      var update = function () {
        var given = [].map.call(other.querySelectorAll('input:checked, option:checked'), function (e) {
          return e.value;
        }).filter(Boolean);
        var has = function (value) { return values.indexOf(value) >= 0; };
        var isShown = row.getAttribute('data-mautic-form-expr') == 'notIn' ?
          given.some(function (value) { return !has(value); }) :
          given.some(function (value) { return has('*') || has(value); });
        // A list of lists shows the one that fits.
        var groups = row.querySelectorAll('optgroup'), fitting;
        each(groups, function (group) {
          var fits = given.indexOf(group.label) >= 0;
          group.style.display = fits ? '' : 'none';
          if (fits && !fitting) fitting = group;
        });
        if (groups.length && !fitting) isShown = false;
        row.style.display = isShown ? 'block' : 'none';
        if (isShown) row.removeAttribute('data-validate-disable');
        else row.setAttribute('data-validate-disable', 1);
      };
      other.addEventListener('change', update);
      form.addEventListener('reset', function () { setTimeout(update); });
      update();
    });
  }

  function pageOf(element) {
    var page = element && element.closest('[data-mautic-form-page]');
    return page && +page.getAttribute('data-mautic-form-page');
  }

  function showPage(form, number) {
    each(form.querySelectorAll('[data-mautic-form-page],[data-mautic-form-pagebreak]'), function (e) {
      var own = e.getAttribute('data-mautic-form-page') || e.getAttribute('data-mautic-form-pagebreak');
      e.style.display = own == number ? 'block' : 'none';
    });
  }

  function preparePages(name, form) {
    var pages = form.querySelectorAll('[data-mautic-form-page]'), last = pages.length;
    if (!last) return;
    each(form.querySelectorAll('[data-mautic-form-pagebreak]'), function (bar) {
      var number = +bar.getAttribute('data-mautic-form-pagebreak'), submit;
      var back = within(bar, '[data-mautic-form-pagebreak-button="prev"]');
      var next = within(bar, '[data-mautic-form-pagebreak-button="next"]');
      if (back) {
        back.disabled = number == 1;
        back.onclick = function () {
          hook(name, 'onShowPreviousPage', number - 1);
          showPage(form, number - 1);
        };
      }
      if (!next) return;
      next.onclick = function () {
        var page = within(form, '[data-mautic-form-page="' + number + '"]'), isRight = true;
        each(page.querySelectorAll('[data-validate]'), function (row) {
          if (!validateField(name, form, row.getAttribute('data-validate'))) isRight = false;
        });
        if (!isRight) return;
        hook(name, 'onShowNextPage', number + 1);
        showPage(form, number + 1);
      };
      submit = within(form, 'button[type="submit"]');
      if (number == last && number > 1 && submit) {
        next.parentNode.appendChild(submit.parentNode);
        next.remove();
      }
    });
    showPage(form, 1);
  }

  // A field's row. Of a field called "message" the id is that of the form's message too.
  function rowOf(name, alias) {
    var form = find(name), rows, quoted = JSON.stringify(String(alias));
    rows = form.querySelectorAll('[data-validate=' + quoted + '], .mauticform-row[id=' +
      JSON.stringify('mauticform_' + name + '_' + alias) + ']');
    return rows[0] || d.getElementById('mauticform_' + name + '_' + alias) || d.getElementById('mauticform_' + alias);
  }

  function rowId(name, row, alias) {
    return row && row.id || 'mauticform_' + name + '_' + alias;
  }

  function validateOptions(options) {
    return !!options && [].some.call('length' in options ? options : [options], function (o) { return o.checked; });
  }

  function validateEmail(text) {
    return /^\s*[^@\s]+@[^@\s]+\.[^@\s.]{2,}\s*$/.test(text);
  }

  function validateField(name, form, alias) {
    var rule = rules[name][alias], row = rowOf(name, alias), isRight, key, input;
    if (row && row.getAttribute('data-validate-disable')) return true;
    isRight = hook(name, 'onValidateField', { fieldKey: alias, field: rule });
    if (isRight !== null) return isRight;
    key = 'mauticform[' + rule.name + ']';
    input = form.elements[key] || form.elements[key + '[]'];
    isRight = !input ||
      (/^(radio|checkbox)grp$|^boolean$/.test(rule.type) ? validateOptions(input) :
        rule.type == 'email' ? validateEmail(input.value) : /\S/.test(input.value));
    if (isRight) clearError(name, alias);
    else markError(name, alias);
    return isRight;
  }

  function markError(name, alias, message) {
    var row = rowOf(name, alias), said = row && within(row, '.mauticform-errormsg');
    var data = {
      containerId: rowId(name, row, alias),
      valid: false,
      validationMessage: message === undefined ? said && said.innerHTML : message
    };
    if (hook(name, 'onErrorMark', data)) return;
    if (!said) return message && setMessage(name, message, 'error');
    if (message !== undefined) fill(said, message);
    said.style.display = '';
    row.classList.add('mauticform-has-error');
  }

  function clearError(name, alias) {
    var row = rowOf(name, alias), said = row && within(row, '.mauticform-errormsg');
    if (hook(name, 'onErrorClear', rowId(name, row, alias)) || !said) return;
    said.style.display = 'none';
    row.classList.remove('mauticform-has-error');
  }

  function clearErrors(name) {
    var start = 'mauticform_' + name + '_';
    each(find(name).querySelectorAll('.mauticform-has-error'), function (row) {
      clearError(name, row.getAttribute('data-validate') || row.id.replace(start, ''));
    });
  }

  // Mautic's messages may be HTML: its words, lists and links are shown, and nothing of it can act.
  function fill(to, message) {
    to.textContent = '';
    copy(new DOMParser().parseFromString(String(message), 'text/html').body, to);
  }

  function copy(from, to) {
    each(from.childNodes, function (node) {
      var name = node.nodeName, own = to;
      if (node.nodeType == 3) to.appendChild(d.createTextNode(node.data));
      if (node.nodeType != 1 || /^(SCRIPT|STYLE|TEMPLATE|TITLE|NOSCRIPT|IFRAME|OBJECT|SVG)$/i.test(name)) return;
      if (/^(A|B|BR|DIV|EM|H[1-6]|I|LI|OL|P|SPAN|STRONG|U|UL)$/.test(name)) {
        own = to.appendChild(d.createElement(name));
        if (name == 'A' && /^(https?|mailto|tel):/.test(node.href)) {
          own.href = node.href;
          if (node.target) own.target = '_blank';
        }
      }
      copy(node, own);
    });
  }

  function setMessage(name, message, type) {
    var form = find(name), id = 'mauticform_' + name + '_' + type;
    var box = within(form, '.mauticform-' + type + '[id]') || d.getElementById(id);
    if (hook(name, 'onMessageSet', { message: message, type: type })) return;
    if (box) fill(box, message);
    else if (message) alert(message);
  }

  function disableSubmitButton(name) {
    var button = within(find(name), '.mauticform-button'), lang = w.MauticLang || {};
    if (hook(name, 'onSubmitButtonDisable') || !button) return;
    if (!(name in waiting)) waiting[name] = button.innerHTML;
    button.textContent = find(name).getAttribute('data-wait') || lang.submittingMessage || '…';
    button.disabled = true;
  }

  function enableSubmitButton(name) {
    var button = within(find(name), '.mauticform-button'), said = waiting[name];
    delete waiting[name];
    if (hook(name, 'onSubmitButtonEnable') || !button) return;
    if (said !== undefined) button.innerHTML = said;
    button.disabled = false;
  }

  function validateForm(name, submits) {
    var form = find(name), isRight, first, back, wrapper = d.getElementById('mauticform_wrapper_' + name);
    prepare(name);
    isRight = hook(name, 'onValidate');
    disableSubmitButton(name);
    if (isRight === null) {
      hook(name, 'onValidateStart');
      if (wrapper) wrapper.classList.remove('mauticform-post-success');
      setMessage(name, '', 'message');
      setMessage(name, '', 'error');
      isRight = true;
      Object.keys(rules[name]).forEach(function (alias) {
        if (validateField(name, form, alias)) return;
        isRight = false;
        first = first || alias;
      });
    }
    if (hook(name, 'onValidateEnd', isRight) === false) isRight = false;
    if (!isRight || !submits) {
      enableSubmitButton(name);
      if (first) lead(name, first);
      return !!isRight;
    }
    back = d.getElementById('mauticform_' + name + '_return');
    if (back) back.value = d.URL;
    // Past an input that calls itself submit.
    HTMLFormElement.prototype.submit.call(form);
    return true;
  }

  // Brings the reader to a field, on whichever page of the form it stands.
  function lead(name, alias) {
    var row = rowOf(name, alias), page = pageOf(row), input;
    if (page) showPage(find(name), page);
    input = row && within(row, 'input, select, textarea');
    if (input) input.focus();
  }

  function resetForm(name) {
    var form = find(name);
    clearErrors(name);
    HTMLFormElement.prototype.reset.call(form);
    if (within(form, '[data-mautic-form-page]')) showPage(form, 1);
  }

  function parseFormResponse(name, r) {
    var frame = d.getElementById('mauticiframe_' + name), wrapper = d.getElementById('mauticform_wrapper_' + name);
    var wrong = r.validationErrors && Object.keys(r.validationErrors);
    // Else going back would post again.
    if (frame) frame.src = 'about:blank';
    if (hook(name, 'onResponse', r)) return delete waiting[name];
    hook(name, 'onResponseStart', r);
    if (r.download && frame) frame.src = r.download;
    if (r.redirect) setTimeout(function () { w.top.location = r.redirect; }, r.download ? 2000 : 0);
    else if (wrong) {
      wrong.forEach(function (alias) { markError(name, alias, r.validationErrors[alias]); });
      if (wrong[0]) lead(name, wrong[0]);
    } else if (r.errorMessage) setMessage(name, r.errorMessage, 'error');
    if (r.success) {
      if (r.successMessage) setMessage(name, r.successMessage, 'message');
      if (wrapper) wrapper.classList.add('mauticform-post-success');
      resetForm(name);
    }
    enableSubmitButton(name);
    hook(name, 'onResponseEnd', r);
  }

  // A page came into the frame and told nothing: the server is away, or this page may not know.
  function lost(name) {
    var frame = d.getElementById('mauticiframe_' + name);
    if (!(name in waiting)) return;
    // A frame's first page, before anything was sent.
    try { if (frame.contentWindow.location.href == 'about:blank') return; } catch (e) {}
    enableSubmitButton(name);
    setMessage(name, find(name).getAttribute('data-failed') || (w.MauticLang || 0).failedMessage || '', 'error');
  }

  function host(url) {
    try { return new URL(url, d.baseURI).host; } catch (e) { return ''; }
  }

  w.addEventListener('message', function (e) {
    var r, name, form, frame;
    try { r = JSON.parse(e.data); } catch (error) { return; }
    name = r && typeof r.formName == 'string' && r.formName;
    form = name && find(name);
    frame = name && d.getElementById('mauticiframe_' + name);
    // Only the form's own frame tells, and only of the server that it posts to.
    if (form && frame && e.source == frame.contentWindow && host(e.origin) == host(form.getAttribute('action'))) {
      parseFormResponse(name, r);
    }
  });

  function getValidator(name) {
    return {
      validateForm: function (submits) { return validateForm(name, submits); },
      validateField: function (form, alias) { return validateField(name, form, alias); },
      validateOptions: validateOptions,
      validateEmail: validateEmail,
      markError: function (id, valid, message) {
        var alias = String(id).replace('mauticform_' + name + '_', '');
        if (valid) clearError(name, alias);
        else markError(name, alias, message);
      },
      clearError: function (id) { clearError(name, String(id).replace('mauticform_' + name + '_', '')); },
      clearErrors: function () { clearErrors(name); },
      parseFormResponse: function (r) { parseFormResponse(name, r); },
      setMessage: function (message, type) { setMessage(name, message, type); },
      resetForm: function () { resetForm(name); },
      disableSubmitButton: function () { disableSubmitButton(name); },
      enableSubmitButton: function () { enableSubmitButton(name); }
    };
  }

  w.MauticSDKLoaded = true;
  w.MauticSDK = {
    onLoad: prepareAll,
    prepareForm: prepare,
    validateForm: function (name, submits) { return validateForm(name, submits); },
    getValidator: getValidator
  };
  if (d.readyState == 'loading') d.addEventListener('DOMContentLoaded', prepareAll);
  else prepareAll();
})(window, document);
