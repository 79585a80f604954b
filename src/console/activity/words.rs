//! The texts of jobs and the audit.

words! {
    ActivityWords {
        jobs_title: "任务", "Jobs";
        job: "任务", "Job";
        last_run: "上次运行", "Last run";
        took: "用时", "Took";
        done: "处理数", "Done";
        next: "下次运行", "Next";
        lease: "租约持有者", "Lease holder";
        last_failed: "上次失败", "Last failure";
        never: "从未", "never";
        audit_title: "审计", "Audit";
        audit_empty: "没有审计记录。", "No audit rows.";
        actor: "操作者", "Who";
        action: "操作", "What";
        address: "来源地址", "From where";
        result: "结果", "Result";
        subject: "对象", "About";
        everyone: "操作者或编号", "A name or an id";
    }
}
