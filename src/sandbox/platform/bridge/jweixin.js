// The simulator's stand-in for what WeChat's browser gives a page: window.WeixinJSBridge (built in there) and window.wx (jweixin.js).
//
// It decides nothing. Every check is made by the simulator that served this file; here is only what a browser must do: send
// the page's address, show the cashier, call back. No network but that simulator, no inline style or script, nothing that a
// strict content security policy would refuse beyond `script-src` and `connect-src` for the simulator's origin.
(function () {
  'use strict';

  const base = new URL(document.currentScript.src).origin;
  const page = () => location.href.split('#')[0];

  async function post(path, body) {
    const answer = await fetch(base + '/_sandbox/bridge/' + path, {
      method: 'POST',
      mode: 'cors',
      credentials: 'include',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error('the simulator answered ' + answer.status);
    return answer.json();
  }

  // ---- the cashier -------------------------------------------------------------------------------------------------

  const style = `
    {{palette}}
    dialog {
      box-sizing: border-box; width: 100%; max-width: 24.375rem; max-height: 100%; margin: auto auto 0;
      padding: 1.25rem 1.5rem 1.5rem; overflow: auto; border: 0; border-radius: .75rem .75rem 0 0;
      background: var(--sheet); color: var(--ink);
      font: 1rem/1.5 system-ui, -apple-system, 'PingFang SC', 'Noto Sans CJK SC', 'Microsoft YaHei', sans-serif;
    }
    dialog::backdrop { background: rgb(0 0 0 / .6); }
    h2 { margin: 0; padding: 0 2.5rem; font-size: 1.0625rem; font-weight: 500; text-align: center; overflow-wrap: anywhere; }
    .amount { margin: .75rem 0 1rem; font-weight: 600; line-height: 1.2; text-align: center; white-space: nowrap; }
    .row {
      display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; margin: 0; padding: .75rem 0;
      border-top: 1px solid var(--hair); overflow-wrap: anywhere;
    }
    .row :first-child, .note { color: var(--faint); }
    .note { margin: 1rem 0 0; font-size: .8rem; text-align: center; }
    button {
      display: block; box-sizing: border-box; width: 100%; min-height: 3rem; margin: 1rem 0 0; padding: .75rem; border: 0;
      border-radius: .5rem; background: var(--green); color: var(--on-green); font: inherit; font-weight: 600; cursor: pointer;
    }
    button.close {
      position: absolute; top: .5rem; left: .5rem; width: 2.75rem; min-height: 2.75rem; margin: 0; padding: 0;
      border-radius: 50%; background: none; color: inherit; font-size: 1.75rem; font-weight: 400; line-height: 1;
    }
    button:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; }
    button:disabled { opacity: .6; cursor: default; }
    /* Within the page's phone frame, if it has one. */
    @media (min-width: 40rem) { dialog { max-width: 23.375rem; margin: auto; border-radius: .75rem; } }`;

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // Resolves to 'pay' or 'cancel'; leaving the dialog by Escape is a cancel.
  function ask(sheet) {
    return new Promise((resolve) => {
      const host = document.createElement('div');
      host.id = 'wechat-cashier';
      const root = host.attachShadow({ mode: 'open' });
      const sheetStyle = new CSSStyleSheet();
      sheetStyle.replaceSync(style);
      root.adoptedStyleSheets = [sheetStyle];
      const dialog = document.createElement('dialog');
      const title = element('h2', sheet.merchant);
      title.id = 'title';
      dialog.setAttribute('aria-labelledby', 'title');
      dialog.lang = 'zh-CN';
      const amount = element('p', '¥' + sheet.amount, 'amount');
      // An amount on two lines is read as another amount: with large text it shrinks to fit instead.
      amount.style.fontSize = 'min(2.5rem, ' + Math.floor(120 / amount.textContent.length) + 'vw)';
      const row = (name, value) => {
        const made = element('p', '', 'row');
        made.append(element('span', name), element('span', value));
        return made;
      };
      const pay = element('button', '确认支付');
      const cancel = element('button', '×', 'close');
      cancel.setAttribute('aria-label', '取消');
      dialog.append(
        cancel,
        title,
        amount,
        row('商品', sheet.body),
        row('支付方式', '零钱'),
        pay,
        element('p', '模拟收银台，不会产生真实扣款', 'note'),
      );
      root.append(dialog);
      const done = (answer) => {
        pay.disabled = cancel.disabled = true;
        dialog.close();
        host.remove();
        resolve(answer);
      };
      pay.addEventListener('click', () => done('pay'), { once: true });
      cancel.addEventListener('click', () => done('cancel'), { once: true });
      dialog.addEventListener('cancel', (event) => {
        event.preventDefault();
        done('cancel');
      });
      document.body.append(host);
      dialog.showModal();
      // What the payer came for, not the way out.
      pay.focus({ focusVisible: false });
    });
  }

  // The whole of one payment; what comes back has `result` and the message in the caller's own form.
  async function payment(via, grant, params) {
    const answer = await post('pay', { via, grant, url: page(), params });
    if (answer.result !== 'sheet') return answer;
    return post('act', { sheet: answer.sheet, action: await ask(answer) });
  }

  // ---- WeixinJSBridge ----------------------------------------------------------------------------------------------

  window.WeixinJSBridge = {
    invoke(name, params, callback) {
      const answer = (value) => callback && callback(value);
      if (name !== 'getBrandWCPayRequest') {
        setTimeout(answer, 0, { err_msg: 'system:function_not_exist' });
        return;
      }
      payment('bridge', undefined, params).then(
        ({ result, ...message }) => answer(message),
        (error) => answer({ err_msg: 'get_brand_wcpay_request:fail', err_desc: String(error.message) }),
      );
    },
    on() {},
    call() {},
  };
  const announce = () => document.dispatchEvent(new Event('WeixinJSBridgeReady'));
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', () => setTimeout(announce, 0));
  else setTimeout(announce, 0);

  // ---- wx ----------------------------------------------------------------------------------------------------------

  const state = { outcome: null, grant: undefined, apis: [], ready: [], error: [], shared: {} };

  function settle(options, result) {
    const word = result.errMsg.split(':')[1].split(',')[0];
    const callback = word === 'ok' ? options.success : word === 'cancel' ? options.cancel : options.fail;
    if (callback) callback(result);
    if (options.complete) options.complete(result);
  }

  function api(name, run) {
    return (options = {}) => {
      const permitted = state.outcome === 'ok' && state.apis.includes(name);
      const running = permitted
        ? Promise.resolve().then(() => run(options))
        : Promise.resolve({ errMsg: name + ':fail, the permission value is offline verifying' });
      running.then(
        (result) => settle(options, result),
        (error) => settle(options, { errMsg: name + ':fail, ' + error.message }),
      );
    };
  }

  // A shared link must lead back to a page of the same account.
  function share(name) {
    return api(name, (options) => {
      let host = '';
      try {
        host = new URL(options.link, location.href).host;
      } catch {
        // No address at all: refused below like a foreign one.
      }
      if (host !== location.host) return { errMsg: name + ':fail, invalid link' };
      const { title, desc, link, imgUrl } = options;
      state.shared[name] = { title, desc, link, imgUrl };
      return { errMsg: name + ':ok' };
    });
  }

  // These only say what a later share would send: nothing is called back before somebody shares.
  function onShare(name) {
    return ({ title, desc, link, imgUrl } = {}) => {
      if (state.outcome === 'ok' && state.apis.includes(name)) state.shared[name] = { title, desc, link, imgUrl };
    };
  }

  window.wx = {
    config(options) {
      const { appId, timestamp, nonceStr, signature, jsApiList, debug } = options;
      state.outcome = 'pending';
      post('config', { url: page(), appId, timestamp, nonceStr, signature, jsApiList })
        .catch((error) => ({ errMsg: 'config:fail, ' + error.message }))
        .then((result) => {
          if (debug) console.info(result.errMsg);
          if (result.errMsg === 'config:ok') {
            Object.assign(state, { outcome: 'ok', grant: result.grant, apis: jsApiList });
            state.ready.splice(0).forEach((callback) => callback());
          } else {
            state.outcome = 'failed';
            state.failure = { errMsg: result.errMsg };
            state.error.forEach((callback) => callback(state.failure));
          }
        });
    },
    ready(callback) {
      if (state.outcome === 'ok') setTimeout(callback, 0);
      else state.ready.push(callback);
    },
    error(callback) {
      state.error.push(callback);
      if (state.outcome === 'failed') setTimeout(callback, 0, state.failure);
    },
    checkJsApi({ jsApiList = [], success, complete }) {
      const checkResult = {};
      for (const name of jsApiList) checkResult[name] = state.outcome === 'ok' && state.apis.includes(name);
      setTimeout(settle, 0, { success, complete }, { checkResult, errMsg: 'checkJsApi:ok' });
    },
    chooseWXPay: api('chooseWXPay', ({ timestamp, nonceStr, package: prepay, signType, paySign }) =>
      payment('chooseWXPay', state.grant, { timestamp, nonceStr, package: prepay, signType, paySign }).then(
        ({ errMsg }) => ({ errMsg }),
      ),
    ),
    updateAppMessageShareData: share('updateAppMessageShareData'),
    updateTimelineShareData: share('updateTimelineShareData'),
    onMenuShareTimeline: onShare('onMenuShareTimeline'),
    onMenuShareAppMessage: onShare('onMenuShareAppMessage'),
    onMenuShareQQ: onShare('onMenuShareQQ'),
    onMenuShareQZone: onShare('onMenuShareQZone'),
    onMenuShareWeibo: onShare('onMenuShareWeibo'),
    // Not WeChat's: what a share would send, for tests.
    sandboxShared: () => structuredClone(state.shared),
  };
  window.jWeixin = window.wx;
})();
