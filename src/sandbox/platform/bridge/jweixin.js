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
    :host { color-scheme: light dark; }
    dialog {
      box-sizing: border-box; width: 100%; max-width: 26rem; max-height: 100%; margin: auto auto 0; padding: 1.5rem;
      overflow: auto; border: 0; border-radius: .75rem .75rem 0 0; background: #fff; color: #191919;
      font: 1rem/1.5 system-ui, -apple-system, 'PingFang SC', 'Microsoft YaHei', sans-serif;
    }
    dialog::backdrop { background: rgb(0 0 0 / .6); }
    h2 { margin: 0; font-size: 1.1rem; font-weight: 500; text-align: center; overflow-wrap: anywhere; }
    .amount { margin: 1rem 0; font-weight: 600; text-align: center; white-space: nowrap; }
    .payee, .note { margin: 0 0 1.5rem; color: #595959; text-align: center; overflow-wrap: anywhere; }
    .note { margin: 1rem 0 0; font-size: .8rem; }
    button {
      display: block; box-sizing: border-box; width: 100%; min-height: 3rem; margin: 0 0 .75rem; padding: .75rem; border: 0;
      border-radius: .5rem; background: #07804a; color: #fff; font: inherit; cursor: pointer;
    }
    button.plain { background: #f2f2f2; color: #191919; }
    button:focus-visible { outline: 3px solid #1a73e8; outline-offset: 2px; }
    button:disabled { opacity: .6; cursor: default; }
    @media (prefers-color-scheme: dark) {
      dialog { background: #1e1e1e; color: #e6e6e6; }
      .payee, .note { color: #b0b0b0; }
      button.plain { background: #333; color: #e6e6e6; }
    }`;

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
      const title = element('h2', sheet.body);
      title.id = 'title';
      dialog.setAttribute('aria-labelledby', 'title');
      dialog.lang = 'zh-CN';
      const amount = element('p', '¥' + sheet.amount, 'amount');
      // An amount on two lines is read as another amount: with large text it shrinks to fit instead.
      amount.style.fontSize = 'min(2.5rem, ' + Math.floor(120 / amount.textContent.length) + 'vw)';
      const pay = element('button', '确认支付');
      const cancel = element('button', '取消', 'plain');
      dialog.append(
        title,
        amount,
        element('p', '收款方 ' + sheet.payee, 'payee'),
        pay,
        cancel,
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
