/* A front end as the tutorials of 2018 to 2021 write it: Vue 2 with a hash router, axios 0.21, the cookie openId, addresses as they
   are. Nothing of it knows this service. Not to be improved: what it does is what such pages do. */
axios.defaults.baseURL = '/api/wechat'
axios.defaults.withCredentials = true

function getCookie(name) {
  var found = document.cookie.match(new RegExp('(^| )' + name + '=([^;]*)(;|$)'))
  return found ? found[2] : null
}

var Home = {
  template: '<div><h1>首页</h1><a href="#/pay?goods=1">去支付</a></div>'
}

var Pay = {
  data: function () { return { user: {}, sdk: '', order: '', result: '', status: '' } },
  template:
    '<div><h1>支付</h1><p id="user">{{ user.nickname }}</p><p id="sdk">{{ sdk }}</p>' +
    '<button id="bridge" @click="pay(1)">微信支付</button> <button id="choose" @click="choose(100)">立即购买</button>' +
    '<p id="order">{{ order }}</p><p id="result">{{ result }}</p><p id="status">{{ status }}</p></div>',
  mounted: function () {
    var vm = this
    axios.get('/getUserInfo').then(function (response) {
      if (response.data.code == 0) vm.user = response.data.data
    })
    vm.config()
  },
  methods: {
    config: function () {
      var vm = this
      var url = window.location.href.split('#')[0]
      // Some encode it, some hand it to axios, many just append it.
      var ask = window.encoded ? '/jssdk?url=' + encodeURIComponent(url) : '/jssdk?url=' + url
      axios.get(ask).then(function (response) {
        if (response.data.code != 0) { vm.sdk = response.data.message; return }
        var data = response.data.data
        window.signed = data
        wx.config({ debug: false, appId: data.appId, timestamp: data.timestamp, nonceStr: data.nonceStr,
          signature: data.signature, jsApiList: ['chooseWXPay', 'updateAppMessageShareData', 'updateTimelineShareData'] })
        wx.ready(function () {
          vm.sdk = 'ready'
          wx.updateAppMessageShareData({ title: '商城', desc: '好货', link: url, imgUrl: '', success: function () {} })
        })
        wx.error(function (error) { vm.sdk = error.errMsg })
      })
    },
    pay: function (money) {
      var vm = this
      axios.get('/pay/payWallet', { params: { money: money } }).then(function (response) {
        if (response.data.code != 0) { vm.result = response.data.message; return }
        var data = response.data.data
        vm.order = data.order_no
        function onBridgeReady() {
          WeixinJSBridge.invoke('getBrandWCPayRequest', {
            appId: data.appId, timeStamp: data.timeStamp, nonceStr: data.nonceStr, package: data.package,
            signType: data.signType, paySign: data.paySign
          }, function (res) {
            vm.result = res.err_msg
            if (res.err_msg == 'get_brand_wcpay_request:ok') vm.ask()
          })
        }
        if (typeof WeixinJSBridge == 'undefined') document.addEventListener('WeixinJSBridgeReady', onBridgeReady, false)
        else onBridgeReady()
      })
    },
    choose: function (money) {
      var vm = this
      axios.get('/pay/payWallet?money=' + money).then(function (response) {
        var data = response.data.data
        vm.order = data.order_no
        wx.chooseWXPay({ timestamp: data.timestamp, nonceStr: data.nonceStr, package: data.package, signType: data.signType,
          paySign: data.paySign,
          success: function (res) { vm.result = res.errMsg; vm.ask() },
          cancel: function (res) { vm.result = res.errMsg } })
      })
    },
    ask: function () {
      var vm = this
      axios.get('/pay/status', { params: { order_no: vm.order, refresh: 1 } }).then(function (response) {
        vm.status = response.data.data.state
        if (vm.status != 'paid') setTimeout(vm.ask, 1000)
      })
    }
  }
}

function start() {
  var app = new Vue({
    el: '#app',
    data: { hash: location.hash },
    render: function (h) { return h(this.hash.indexOf('#/pay') == 0 ? Pay : Home) }
  })
  window.addEventListener('hashchange', function () { app.hash = location.hash })
}

// What a page does with its address: /encoded/, /plain/, and /scoped/, which is plain behind its scope.
window.encoded = location.pathname.indexOf('/encoded/') == 0
if (getCookie('openId')) start()
else if (window.encoded) window.location.href = '/api/wechat/redirect?url=' + encodeURIComponent(location.href) + '&scope=snsapi_userinfo'
else if (location.pathname.indexOf('/scoped/') == 0) window.location.href = '/api/wechat/redirect?scope=snsapi_userinfo&url=' + location.href
else window.location.href = '/api/wechat/redirect?url=' + location.href + '&scope=snsapi_userinfo'
