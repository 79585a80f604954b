// What the payer sees: one screen at a time, each with its text, its mark and its one action. It decides nothing.

const element = (id) => document.getElementById(id);

/** Text, mark and label of every screen. The mark is a shape of page.css, or a sign in a disc. */
export const SCREENS = {
  entering: { text: '正在进入…', mark: 'spin' },
  choosing: { text: '请选择金额', mark: '' },
  creating: { text: '正在创建订单…', mark: 'spin' },
  waiting: { text: '请在微信中完成支付', mark: 'spin', action: '取消', plain: true },
  confirming: { text: '正在确认支付结果，请稍候', mark: 'spin' },
  unknown: { text: '支付结果确认中。如已扣款请勿重复支付，稍后可在订单页查看', mark: '?', action: '查看订单', plain: true },
  paid: { text: '支付成功', mark: 'tick', action: '完成' },
  cancelled: { text: '支付未完成，订单已保留', mark: '!', action: '继续支付' },
  closed: { text: '订单已超时关闭', mark: '–', action: '重新下单' },
  already_paid: { text: '该订单已支付，请勿重复付款', mark: 'tick', action: '查看订单', plain: true },
  busy: { text: '系统繁忙，请稍后再试（未扣款）', mark: '!', action: '重试' },
  bad_parameters: { text: (reference) => `支付参数异常，请联系客服（编号 ${reference}）`, mark: '!', action: '复制编号', plain: true },
  outside: { text: '请在微信中打开此页面', mark: '!', action: '复制链接' },
  login_expired: { text: '页面已过期，请重新进入', mark: '!', action: '重新进入' },
  login_refused: { text: '登录未完成，登录后才能支付', mark: '!', action: '重新登录' },
  snapshot: { text: '当前为快照页，请点击“使用完整服务”后支付', mark: '!', action: '使用完整服务' },
};

/** An order is only looked at while its outcome is open or after it was paid: "not paid yet" would invite a second payment. */
const STATES = { requested: '确认中', payable: '确认中', paid: '已支付', closed: '已关闭', failed: '未生效' };

let press = null;

/** Fen as yuan, without ever being a fraction. */
export const yuan = (fen) => `¥${Math.trunc(fen / 100)}.${String(fen % 100).padStart(2, '0')}`;

/** A moment in Beijing's time, as WeChat's own pages have it, wherever the phone is. */
const beijing = (at) => new Date(at).toLocaleString('zh-CN', { timeZone: 'Asia/Shanghai' });

/** The name of the screen that is shown. */
export const shown = () => document.body.dataset.screen;

/**
 * Shows a screen. `reference` is what a payer can tell the shop's service; `pressed` is what its action does.
 */
export function show(name, { reference = '', amount_fen = null, pressed = null } = {}) {
  const screen = SCREENS[name];
  const focusLost = document.activeElement?.matches('#action, #pay, #back') ?? false;
  document.body.dataset.screen = name;
  const told = typeof screen.text === 'function' ? screen.text(reference || '—') : screen.text;
  // A live region speaks on each change; the same text again would be said twice.
  if (element('text').textContent !== told) element('text').textContent = told;
  const sign = screen.mark.length > 1 ? '' : screen.mark;
  element('mark').dataset.mark = screen.mark;
  element('mark').textContent = sign;
  element('reference').textContent = reference && typeof screen.text !== 'function' ? `编号 ${reference}` : '';
  element('amount').textContent = amount_fen === null ? '' : yuan(amount_fen);
  element('amount').hidden = amount_fen === null;
  element('choice').hidden = name !== 'choosing';
  element('copied').textContent = '';
  const action = element('action');
  press = pressed;
  action.textContent = screen.action ?? '';
  action.hidden = !screen.action;
  action.classList.toggle('plain', Boolean(screen.plain));
  // The pressed button is gone or has changed: move the focus to the text for screen readers.
  if (focusLost) element('text').focus({ preventScroll: true });
}

/** Writes what is known of the order; what is not known yet is a dash. */
function fill(order) {
  element('order-goods').textContent = order.description ?? '—';
  element('order-amount').textContent = Number.isInteger(order.amount_fen) ? yuan(order.amount_fen) : '—';
  element('order-state').textContent = STATES[order.state] ?? '确认中';
  element('order-paid-at').textContent = order.paid_at ? beijing(order.paid_at) : '—';
  element('order-transaction').textContent = order.transaction_id ?? '—';
  element('order-number').textContent = order.order_no;
}

/** Shows the order under whatever is shown. */
export function showOrder(order, back) {
  fill(order);
  element('back').onclick = back;
  const opening = element('order').hidden;
  element('order').hidden = false;
  if (opening) element('order-title').focus();
}

/** The paid order as a receipt: part of its screen, which has an action of its own. */
export function showReceipt(order) {
  fill(order);
  element('order').hidden = false;
}

/** Whether the order is shown. */
export const orderIsShown = () => !element('order').hidden;

export function hideOrder() {
  element('order').hidden = true;
}

/** Who is logged in, by the name they have at WeChat. */
export function greet(nickname) {
  element('nickname').textContent = nickname || '微信用户';
  element('initial').textContent = [...(nickname || '微')][0];
}

/** The line about the JS-SDK, for those who look closely. */
export function tellSdk(text) {
  element('sdk').textContent = text;
}

/** Copies a text, or selects it where the browser lets no page write to the clipboard. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    element('copied').textContent = '已复制';
  } catch {
    element('copied').textContent = text;
    getSelection()?.selectAllChildren(element('copied'));
  }
}

/** Wires what never changes. `paying` gets the chosen fen. */
export function start(paying) {
  const chosen = () => Number(new FormData(element('choice')).get('money'));
  element('choice').addEventListener('change', () => {
    element('sum').textContent = yuan(chosen());
  });
  element('choice').addEventListener('submit', (event) => {
    event.preventDefault();
    if (shown() === 'choosing') paying(chosen());
  });
  element('action').addEventListener('click', () => press?.());
  // A form kept by the browser's history may come back with another choice.
  element('sum').textContent = yuan(chosen());
}
