// The browser routes of the service and the envelope they answer in. It decides nothing: a failure is a value with its
// reason, and "no answer" is a reason like the others, because the request may have been executed.

const BASE = '/api/wechat/';

/** Where a login begins; it ends on the page at `callback`. */
export function loginUrl(callback) {
  return `${BASE}redirect?${new URLSearchParams({ callback, scope: 'snsapi_userinfo' })}`;
}

/**
 * Asks a route. Answers `{ok: true, data}` or `{ok: false, reason, data, reference}`, where `reference` is the number under
 * which the service's log knows the request. Never throws.
 */
export async function get(route, parameters = {}, patience_ms = 10_000) {
  const query = new URLSearchParams(parameters).toString();
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), patience_ms);
  try {
    const response = await fetch(BASE + route + (query && `?${query}`), {
      headers: { Accept: 'application/json' },
      credentials: 'same-origin',
      cache: 'no-store',
      signal: giveUp.signal,
    });
    const body = await response.json();
    if (response.ok && body.code === 0) return { ok: true, data: body.data };
    const reference = body.request_id || response.headers.get('x-request-id') || '';
    return { ok: false, reason: body.reason || 'unclear', data: body.data, reference };
  } catch {
    return { ok: false, reason: 'unreachable', data: null, reference: '' };
  } finally {
    clearTimeout(timer);
  }
}
