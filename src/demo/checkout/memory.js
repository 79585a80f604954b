// State that survives a reload of the page, in this tab only: the order that is being paid and whether a login was tried.
//
// An order is `{order_no, amount_fen, offered, since, hint}`. `offered` is set before WeChat is asked to take the money and unset
// only when WeChat has said that nothing was paid: while it is set, a reload continues to query instead of selling again.
// `hint` is what WeChat told the page when the sheet closed; a page that was left with the sheet open has none.

const ORDER = 'checkout.order';
const LOGIN = 'checkout.login_tried';

/** The storage, or null where the browser keeps nothing (all cookies blocked). */
function storage() {
  try {
    sessionStorage.setItem('checkout.probe', '1');
    sessionStorage.removeItem('checkout.probe');
    return sessionStorage;
  } catch {
    return null;
  }
}

const store = storage();
let inPage = null;

export function order() {
  if (!store) return inPage;
  try {
    const kept = JSON.parse(store.getItem(ORDER));
    return kept && typeof kept.order_no === 'string' ? kept : null;
  } catch {
    return null;
  }
}

export function keep(order) {
  inPage = order;
  store?.setItem(ORDER, JSON.stringify(order));
}

export function forget() {
  inPage = null;
  store?.removeItem(ORDER);
}

/**
 * Whether the page may send the payer to the login by itself: once per visit. A browser that keeps no storage keeps no
 * session cookie either; it would go round for ever, so it never may.
 */
export function mayLogin() {
  if (!store || store.getItem(LOGIN)) return false;
  store.setItem(LOGIN, '1');
  return true;
}

/** The payer is logged in, or asked for another try with a press of their own. */
export function loginSettled() {
  store?.removeItem(LOGIN);
}
