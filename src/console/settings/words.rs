//! The texts of the settings.

use crate::console::words::Lang;
use crate::store::{Right, Role, UserChange};

words! {
    SettingsWords {
        title: "设置", "Settings";
        payers: "付款人", "Payers";
        account: "我的账号", "Your account";
        current: "当前密码", "Current password";
        new_password: "新密码", "New password";
        repeat: "再次输入", "Repeat it";
        change_password: "修改密码", "Change password";
        ends_all: "修改后，其他会话将结束。", "All other sessions end.";
        sessions: "会话", "Sessions";
        user: "用户", "User";
        opened: "登录时间", "Signed in";
        seen: "最近活动", "Last seen";
        address: "地址", "Address";
        agent: "浏览器", "Browser";
        end: "结束会话", "End session";
        this_one: "当前会话", "this session";
        users: "用户与角色", "Users and roles";
        role: "角色", "Role";
        rights: "额外权限", "Rights beyond the role";
        limited: "可见商户", "Merchants";
        all_merchants: "全部商户，包括以后新增的", "all merchants, including future ones";
        some_merchants: "仅以下商户", "only these";
        no_merchant: "请至少选择一个商户，或选择全部商户。没有任何改动。",
            "Choose at least one merchant, or all merchants. Nothing was changed.";
        password_set: "密码设置", "Password set";
        not_yet: "尚未设置", "not yet";
        invite: "邀请用户", "Invite a user";
        name: "用户名", "User name";
        name_rule: "字母、数字和 . _ - @，最多 64 个字符。", "Letters, digits and . _ - @, at most 64.";
        create_link: "创建邀请链接", "Create an invitation";
        new_link: "创建新的密码链接", "Create a link for a new password";
        link_title: "邀请链接", "Invitation";
        link_note: "此链接只显示一次，只能使用一次，15 分钟内有效。", "Shown only once, for one use within 15 minutes.";
        edit: "编辑", "Edit";
        remove: "移除用户", "Remove the user";
        remove_note: "该用户的会话将立即结束。", "The user's sessions end at once.";
        merchants: "商户与应用", "Merchants and apps";
        mch_id: "商户号", "mch_id";
        apps: "应用", "Apps";
        key: "密钥指纹", "Key fingerprint";
        previous: "旧密钥", "Previous key";
        until: "有效至", "until";
        policy: "迟到 / 重复", "Late / second payment";
        certificate: "证书到期", "Certificate ends";
        no_certificate: "未配置", "not configured";
        api_keys: "API 密钥", "API keys";
        api_keys_note: "文件中的密钥在配置文件中管理；数据库中的密钥通过 /v1/ops/keys 创建。撤销立即生效，不能恢复。",
            "Keys of the file are managed there; keys of the database are created at /v1/ops/keys. A key is revoked at \
             once, and this cannot be undone.";
        of_file: "配置文件", "file";
        of_database: "数据库", "database";
        origin: "来源", "Kept in";
        made: "创建", "Created";
        expires: "失效", "Expires";
        last_used: "最近使用", "Last used";
        never_used: "从未使用", "never";
        revoked: "已撤销", "revoked";
        revoke: "撤销", "Revoke";
        revoked_now: "密钥已撤销。", "The key is revoked.";
        scopes: "权限范围", "Scopes";
        cap: "每日退款上限", "Daily refund cap";
        key_name: "名称", "Name";
        hashes: "散列", "Hashes";
        saved: "已保存。", "Saved.";
        removed: "用户已移除。", "The user is removed.";
        ended: "会话已结束。", "The session has ended.";
        session_gone: "没有此会话。", "There is no such session.";
        bad_name: "用户名不符合要求。", "That is not a user name.";
        exists: "该用户名已存在。", "A user of this name exists.";
        none: "没有此用户。", "There is no such user.";
        last_admin: "这是最后一位可见全部商户的管理员，不能移除或降级。",
            "This is the last administrator who sees all merchants: it cannot be removed or demoted.";
        beyond: "不能授予或更改超出自己权限的访问。", "You cannot give or change more access than you have.";
        config_hash: "配置散列", "Configuration";
    }
}

impl SettingsWords {
    /// What became of a change; none where it was done.
    pub fn refusal(&self, change: UserChange) -> Option<&'static str> {
        match change {
            UserChange::Done => None,
            UserChange::None => Some(self.none),
            UserChange::LastAdmin => Some(self.last_admin),
            UserChange::Beyond => Some(self.beyond),
        }
    }
}

pub fn role(role: Role, lang: Lang) -> &'static str {
    match role {
        Role::Viewer => lang.pick("查看者", "viewer"),
        Role::Operator => lang.pick("操作员", "operator"),
        Role::Admin => lang.pick("管理员", "admin"),
    }
}

pub fn right(right: Right, lang: Lang) -> &'static str {
    match right {
        Right::View => lang.pick("查看", "view"),
        Right::Replay => lang.pick("重放、丢弃", "replay, discard"),
        Right::Refund => lang.pick("退款", "refund"),
        Right::Accept => lang.pick("接受、关闭", "accept, close"),
        Right::Export => lang.pick("导出", "export"),
        Right::Admin => lang.pick("管理", "manage"),
    }
}
