// The checkout page: from the login to an outcome that the service has confirmed.
//
// What must stay true: no screen shows paid, unpaid or closed unless the service reported it; while an order may have been
// paid, nothing new is sold, not even after a reload; the page never starts a second login by itself.

import * as memory from './memory.js';
import * as screens from './screens.js';
import * as service from './service.js';
import * as wechat from './wechat.js';

/** After this long without an outcome the payer is told that it may take a while. */
const CONFIRMING_MS = 10_000;
/** How long an order may take to be created before the payer is asked to try again. */
const CREATING_MS = 15_000;
const LONGEST_PAUSE_MS = 60_000;
/** While the sheet is open only our own record is looked at, in case WeChat's answer never comes back to the page. */
const WAITING_PAUSE_MS = 4000;

/** The page's own address as WeChat knows it: everything before the fragment, and nothing done to it. */
const ADDRESS = location.href.split('#')[0];

/** Whether the JS-SDK may be used; null before the login. */
let sdk = null;

/** Each step of the payer's begins a turn; what an earlier one still waits for is nobody's business any more. */
let turn = 0;

const tail = (order_no) => order_no.slice(-8);

/** Waits, or less if the payer comes back to the page: that is when the answer is wanted. */
function pause(ms) {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', back);
      resolve();
    };
    const back = () => document.visibilityState === 'visible' && over();
    const timer = setTimeout(over, ms);
    document.addEventListener('visibilitychange', back);
  });
}

// --- Entering -------------------------------------------------------------------------------------------------------

async function enter() {
  const mine = ++turn;
  screens.show('entering');
  const user = await service.get('getUserInfo');
  if (mine !== turn) return;
  if (user.ok) {
    memory.loginSettled();
    screens.greet(user.data.nickname);
    sdk ??= configure();
  } else if (user.reason === 'not_logged_in') {
    return wechat.said() || (await wechat.bridge) ? login() : outside();
  }
  const kept = memory.order();
  // Asking about an order that may be paid needs neither a profile nor a bridge.
  // The sheet closed with the page that had opened it: WeChat's next answer says how it ended.
  if (kept) return kept.offered ? confirm(kept, kept.hint ?? 'left') : look(kept);
  if (!user.ok) return screens.show('busy', { reference: user.reference, pressed: enter });
  if (user.data.is_snapshot) return snapshot();
  await choose();
}

/** Sends the payer through WeChat's login, once per visit: one who refused it is asked before WeChat asks again. */
function login() {
  if (!memory.mayLogin()) return screens.show('login_refused', { pressed: loginAnew });
  // Replaced, so that going back does not lead to the login again.
  location.replace(service.loginUrl(ADDRESS));
}

/** Through the login once more, because the payer pressed for it. */
function loginAnew() {
  memory.loginSettled();
  memory.mayLogin();
  location.replace(service.loginUrl(ADDRESS));
}

function loginExpired(reference = '') {
  screens.show('login_expired', { reference, pressed: loginAnew });
}

/** WeChat shows the page with a made-up user; the person logs in when they ask for all of it. */
function snapshot(reference = '') {
  screens.show('snapshot', { reference, pressed: loginAnew });
}

function outside() {
  screens.show('outside', { pressed: () => screens.copy(ADDRESS) });
}

/** The JS-SDK, for sharing and as the second way to pay. The page does without it where it has to. */
async function configure() {
  let signed = await service.get('jssdk', { url: ADDRESS });
  // Right after the service's start WeChat may not have given it a ticket yet.
  for (let tries = 1; signed.reason === 'token_unavailable' && tries < 4; tries += 1) {
    await pause(2000);
    signed = await service.get('jssdk', { url: ADDRESS });
  }
  if (!signed.ok) {
    screens.tellSdk('JS-SDK 暂不可用');
    return false;
  }
  await wechat.bridge;
  const share = { title: '收银台', desc: '微信支付演示', link: ADDRESS, imgUrl: '' };
  const { ok, said } = await wechat.configure(signed.data, share);
  screens.tellSdk(ok ? 'JS-SDK 已就绪' : `JS-SDK 不可用（${said}）`);
  return ok;
}

async function choose() {
  screens.hideOrder();
  if ((await wechat.bridge) || (await sdk)) screens.show('choosing');
  else outside();
}

// --- Ordering and paying --------------------------------------------------------------------------------------------

/**
 * Has an order made and offers it. To go on with an order that is there, `kept` names it: where the service gives up on it and
 * makes another one, the first must be known unpaid before the second is offered.
 */
async function order(amount_fen, kept = null) {
  const mine = ++turn;
  screens.hideOrder();
  screens.show('creating', { amount_fen, reference: kept ? tail(kept.order_no) : '' });
  const until = Date.now() + CREATING_MS;
  for (;;) {
    const answer = await service.get('pay/payWallet', { money: amount_fen });
    if (mine !== turn) return;
    if (answer.ok) {
      const same = !kept || answer.data.order_no === kept.order_no;
      if (same || (await isUnpaid(kept))) await offer(answer.data, amount_fen);
      return;
    }
    const over = Date.now() > until;
    // The payer's earlier order is being closed and may have been paid: no new order, and no "not charged".
    if (over && answer.reason === 'pending' && answer.data?.state === 'payable') {
      return confirm({ order_no: answer.data.order_no, amount_fen, offered: true, since: null, hint: null }, null);
    }
    if (answer.reason !== 'pending' || over) return refused(answer, amount_fen, kept);
    await pause(1000);
    if (mine !== turn) return;
  }
}

/** Nothing was offered to the payer, so nothing was paid: every reason but one may say so. */
function refused({ reason, reference, data }, amount_fen, going_on) {
  const kept = going_on ?? memory.order();
  switch (reason) {
    case 'not_logged_in':
      return loginExpired(reference);
    case 'snapshot_user':
      return snapshot(reference);
    case 'bad_parameter':
    case 'bad_origin':
    case 'not_open':
    case 'order_failed':
      return badParameters(reference || (kept && tail(kept.order_no)), amount_fen);
    case 'order_closed':
      return closed(kept, amount_fen, reference);
    case 'order_paid':
      return alreadyPaid({ order_no: data?.order_no ?? kept?.order_no ?? '', amount_fen, state: 'paid' });
    default:
      return screens.show('busy', { reference, amount_fen, pressed: () => order(amount_fen, going_on) });
  }
}

async function offer(block, amount_fen) {
  const mine = turn;
  const { order_no } = block;
  const kept = { order_no, amount_fen, offered: true, since: null, hint: null };
  // Stored before WeChat is called: after a reload the page still knows what it may have sold.
  memory.keep(kept);
  screens.show('waiting', { amount_fen, reference: tail(order_no), pressed: () => confirm(kept, 'cancel') });
  watch(kept, mine);
  const hint = await wechat.pay(block);
  if (hint === 'nowhere') {
    memory.keep({ ...kept, offered: false });
    turn += 1;
    return outside();
  }
  const current = memory.order()?.order_no === order_no;
  // An "ok" counts even after the payer stopped waiting: the sheet was open all the while.
  if (mine === turn || (hint === 'ok' && current && screens.shown() === 'cancelled')) await confirm(kept, hint);
}

/** While the sheet is open: the notification may be here before WeChat tells the page, or WeChat may tell it nothing. */
async function watch(kept, mine) {
  for (;;) {
    await pause(WAITING_PAUSE_MS);
    if (mine !== turn) return;
    const answer = await service.get('pay/status', { order_no: kept.order_no });
    if (mine !== turn) return;
    if (answer.ok && answer.data.state === 'paid') {
      turn += 1;
      return paid(answer.data);
    }
  }
}

// --- The outcome ----------------------------------------------------------------------------------------------------

/**
 * Asks the service, which asks WeChat, until there is an outcome. `hint` is what WeChat told the page. Unless that was "ok" or
 * nothing, an unpaid order ends the asking, because the sheet is closed: "cancel", "fail", or "left" by a reload.
 */
async function confirm(kept, hint) {
  const mine = ++turn;
  const since = kept.since ?? Date.now();
  memory.keep({ ...kept, offered: true, since, hint });
  const details = { amount_fen: kept.amount_fen, reference: tail(kept.order_no) };
  const wait = () => screens.show('unknown', { ...details, pressed: () => openOrder(kept) });
  const late = Date.now() - since >= CONFIRMING_MS;
  if (late) wait();
  else screens.show('confirming', details);
  const timer = setTimeout(() => mine === turn && screens.shown() === 'confirming' && wait(), CONFIRMING_MS);
  for (let step_ms = 2000; mine === turn; step_ms = Math.min(step_ms * 1.4, LONGEST_PAUSE_MS)) {
    const answer = await service.get('pay/status', { order_no: kept.order_no, refresh: 1 });
    if (mine !== turn) break;
    if (answer.ok && screens.orderIsShown()) openOrder(kept, answer.data);
    if (ended(answer, kept, hint)) break;
    await pause(step_ms);
  }
  clearTimeout(timer);
}

/** Shows the outcome, if the answer is one. */
function ended(answer, kept, hint) {
  const { amount_fen } = kept;
  if (!answer.ok) {
    if (answer.reason === 'not_logged_in') {
      loginExpired(answer.reference);
      return true;
    }
    if (answer.reason === 'not_found') {
      // Another user's order, from before another login in this tab.
      memory.forget();
      choose();
      return true;
    }
    return false;
  }
  switch (answer.data.state) {
    case 'paid':
      paid(answer.data);
      return true;
    case 'closed':
      closed(kept, amount_fen);
      return true;
    case 'failed':
      memory.forget();
      badParameters(tail(kept.order_no), amount_fen);
      return true;
    default:
      break;
  }
  // An answer that WeChat gave before the sheet closed says nothing about the time since.
  if (!answer.data.refreshed || hint === null || hint === 'ok') return false;
  memory.keep({ ...kept, offered: false, since: null, hint: null });
  if (hint === 'fail') badParameters(tail(kept.order_no), amount_fen);
  else cancelled(kept);
  // Another sheet than the page's own may outlive a reload: a payment that comes is shown all the same.
  if (hint === 'left') watch(kept, turn);
  return true;
}

/** An order that was known unpaid when the page was left. */
async function look(kept) {
  const mine = ++turn;
  const answer = await service.get('pay/status', { order_no: kept.order_no, refresh: 1 });
  if (mine !== turn) return;
  if (!ended(answer, kept, null)) cancelled(kept);
}

/** The payer wants to go on with an order: unless it was paid or closed meanwhile. */
async function goOn(kept) {
  turn += 1;
  screens.show('creating', { amount_fen: kept.amount_fen, reference: tail(kept.order_no) });
  if (await isUnpaid(kept)) await order(kept.amount_fen, kept);
}

/** Whether WeChat, asked now, takes an order for unpaid; otherwise what became of it is shown. */
async function isUnpaid(kept) {
  const mine = turn;
  for (let tries = 0; tries < 5; tries += 1) {
    const answer = await service.get('pay/status', { order_no: kept.order_no, refresh: 1 });
    if (mine !== turn) return false;
    if (answer.ok && answer.data.state === 'paid') {
      alreadyPaid(answer.data);
      return false;
    }
    if (ended(answer, kept, null)) return false;
    if (answer.ok && answer.data.refreshed) return true;
    // Queried less than two seconds ago, or no answer.
    await pause(1000);
    if (mine !== turn) return false;
  }
  cancelled(kept);
  return false;
}

function paid(status) {
  // Kept until the payer has seen it: a reload shows it again.
  memory.keep({ order_no: status.order_no, amount_fen: status.amount_fen, offered: true, since: null, hint: 'ok' });
  const pressed = () => {
    memory.forget();
    turn += 1;
    choose();
  };
  screens.show('paid', { amount_fen: status.amount_fen, reference: tail(status.order_no), pressed });
  screens.showReceipt(status);
}

function cancelled(kept) {
  const details = { amount_fen: kept.amount_fen, reference: tail(kept.order_no), pressed: () => goOn(kept) };
  screens.show('cancelled', details);
}

function closed(kept, amount_fen, reference = '') {
  memory.forget();
  const number = kept ? tail(kept.order_no) : reference;
  screens.show('closed', { amount_fen, reference: number, pressed: () => order(amount_fen) });
}

function alreadyPaid(status) {
  const details = { amount_fen: status.amount_fen, reference: tail(status.order_no) };
  screens.show('already_paid', { ...details, pressed: () => openOrder(status) });
}

function badParameters(reference, amount_fen) {
  screens.show('bad_parameters', { reference, amount_fen, pressed: () => screens.copy(reference || '') });
}

/** The order as the service knows it; where its outcome is open, the asking goes on underneath. */
async function openOrder(kept, known = null) {
  const answer = known ? { ok: true, data: known } : await service.get('pay/status', { order_no: kept.order_no, refresh: 1 });
  const done = () => {
    screens.hideOrder();
    if (screens.shown() !== 'already_paid') return;
    memory.forget();
    choose();
  };
  screens.showOrder(answer.ok ? answer.data : kept, done);
}

screens.start(order);
// Restored from the history cache with stopped timers: query again.
addEventListener('pageshow', (event) => event.persisted && enter());
enter();
