// The two ways from a page into WeChat: WeixinJSBridge of WeChat's browser, and `wx` of the JS-SDK script.
//
// What WeChat reports here is a hint. "ok" has been seen without a payment, "cancel" and "fail" also stand for a wrong
// signature, and any of the three may come late or never. Only the service, which asks WeChat itself, knows.

const BRIDGE_PATIENCE_MS = 3000;
/** Outside WeChat its script loads and never answers. */
const CONFIG_PATIENCE_MS = 8000;

const hasBridge = () => typeof window.WeixinJSBridge?.invoke === 'function';

/** True as soon as the bridge is there, false when it has not come within three seconds. */
export const bridge = new Promise((resolve) => {
  const look = () => {
    if (hasBridge()) resolve(true);
  };
  document.addEventListener('WeixinJSBridgeReady', look);
  // Some versions announce the bridge before a page can listen.
  const poll = setInterval(look, 100);
  setTimeout(() => {
    clearInterval(poll);
    resolve(hasBridge());
  }, BRIDGE_PATIENCE_MS);
  look();
});

/** Whether the browser calls itself WeChat's: enough to begin a login, which WeChat's own page would refuse anybody else. */
export const said = () => /MicroMessenger/i.test(navigator.userAgent);

let configured = null;

/** `wx.config` with what the service signed; answers `{ok, said}`. Once per page: WeChat checks the first one. */
export function configure(signed, share) {
  configured ??= new Promise((resolve) => {
    if (typeof window.wx?.config !== 'function') return resolve({ ok: false, said: 'no script' });
    setTimeout(() => resolve({ ok: false, said: 'no answer' }), CONFIG_PATIENCE_MS);
    window.wx.error((result) => resolve({ ok: false, said: result?.errMsg || 'config:fail' }));
    window.wx.ready(() => {
      // A page without permission for sharing can still pay.
      window.wx.updateAppMessageShareData?.(share);
      window.wx.updateTimelineShareData?.({ title: share.title, link: share.link, imgUrl: share.imgUrl });
      resolve({ ok: true, said: 'config:ok' });
    });
    const { appId, timestamp, nonceStr, signature, jsApiList } = signed;
    window.wx.config({ debug: false, appId, timestamp, nonceStr, signature, jsApiList });
  });
  return configured;
}

/** What the answer of either way means: the part behind the colon. */
function hint(said) {
  const word = /:\s*(ok|cancel|fail)\b/i.exec(said)?.[1];
  return word ? word.toLowerCase() : 'fail';
}

/** The bridge is there and may not be used: an old WeChat, or a page it does not trust. */
const closed = (said) => /access_denied|access_control|function_not_exist/.test(said);

function byBridge(block) {
  const { appId, timeStamp, nonceStr, package: prepay, signType, paySign } = block;
  return new Promise((resolve) => {
    const params = { appId, timeStamp, nonceStr, package: prepay, signType, paySign };
    window.WeixinJSBridge.invoke('getBrandWCPayRequest', params, (result) => resolve(String(result?.err_msg ?? '')));
  });
}

async function bySdk(block) {
  if (typeof window.wx?.chooseWXPay !== 'function' || !(await configured)?.ok) return null;
  const { timestamp, nonceStr, package: prepay, signType, paySign } = block;
  return new Promise((resolve) => {
    const say = (result) => resolve(String(result?.errMsg ?? ''));
    // One answer is enough: `complete` follows each of the others with the same text.
    window.wx.chooseWXPay({ timestamp, nonceStr, package: prepay, signType, paySign, success: say, cancel: say, fail: say });
  });
}

/**
 * Has WeChat ask the payer. Answers `ok`, `cancel` or `fail`, a hint each; `nowhere` when neither way exists, and then
 * nothing was asked.
 */
export async function pay(block) {
  let said = null;
  if (hasBridge()) {
    said = await byBridge(block);
    if (closed(said)) said = null;
  }
  said ??= await bySdk(block);
  return said === null ? 'nowhere' : hint(said);
}
